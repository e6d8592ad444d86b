/**
 * The operator's page over real libvirt and QEMU: a commit and a pull are watched to their end, and
 * the guest lives through being looked at (docs/HAZARDS.md, F12).
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { VolumeId } from '#domain/ids.ts';
import { LabBrowser, picture } from './lab/browser.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { freePort } from './lab/processes.ts';
import { askCreate, askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const MIB = 1024 * 1024;
const PATIENCE = { timeout: 60_000 };
const pagePort = await freePort();
const stage = stageWithoutCinder(`bind_port = ${pagePort}\n[libvirt]\nbandwidth_mib = 4\n`);
const { volumes, withoutCinder } = stage;

test('a commit and a pull, in bytes, with their rates, to their ends', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'raw', size: 64 * MIB });
  const disks = [{ path: path(base), format: 'raw', serial: volume }];
  await using guest = await stage.lab.guest({ disks });
  const qemu = await guest.pid();
  volumes.attach(volume, guest.uuid);
  const files = [base];
  for (let at = 0; at < 3; at++) {
    const id = volumes.put(volume, 'creating');
    const file = `${base}.${id}`;
    const below = files.at(-1) ?? base;
    await createOverlay(path(file), { name: below, format: below === base ? 'raw' : 'qcow2' });
    expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    volumes.believe(volume, file);
    await guest.write('vda', at * 20 * MIB, 20 * MIB, 0x20 + at);
    files.push(file);
  }
  const [, first = '', second = '', active = ''] = files;

  await using browser = await LabBrowser.open();
  const { page, complaints } = await browser.show(`http://127.0.0.1:${pagePort}/ui/`);
  const chain = page.locator('#chains tbody tr').filter({ hasText: guest.name });
  await expect.poll(() => chain.locator('.layer').count(), PATIENCE).toBe(4);
  expect(await chain.locator('.layer').nth(1).textContent()).toMatch(/^qcow2 20(\.\d)? MiB/);
  expect(await chain.locator('.sign.fine').count()).toBe(4);

  const merge = async (info: Parameters<typeof askDelete>[3], snapshot: string, shot: string) => {
    volumes.put(volume, 'deleting', snapshot);
    expect(await askDelete(stage.at, volume, snapshot, info)).toMatchObject({ status: 204 });
    const bar = page.locator('#running progress');
    const far = async () => Number(await bar.evaluate((it) => Reflect.get(it, 'value')));
    await bar.waitFor(PATIENCE);
    await expect.poll(far, PATIENCE).toBeGreaterThan(10);
    const before = await far();
    await expect.poll(far, PATIENCE).toBeGreaterThan(before);
    const rate = page.locator('#running [data-rate]');
    await expect.poll(() => rate.textContent(), PATIENCE).toMatch(/^\d+(\.\d)? MiB\/s$/);
    await picture(page, shot);
    await page.locator('#running .quiet').waitFor(PATIENCE);
    return volumes.hear(snapshot as never);
  };
  const ofFirst = first.slice(base.length + 1);
  const commit = { file_to_merge: first, merge_target_file: base };
  expect(await merge(commit, ofFirst, 'libvirt-commit')).toMatchObject({ kind: 'deleted' });
  await expect.poll(() => chain.locator('.layer').count(), PATIENCE).toBe(3);
  const pull = { file_to_merge: base, merge_target_file: null };
  const ofActive = active.slice(base.length + 1);
  expect(await merge(pull, ofActive, 'libvirt-pull')).toMatchObject({ kind: 'deleted' });
  await expect.poll(() => chain.locator('.layer').count(), PATIENCE).toBe(2);
  expect(await chain.locator('.layer').last().textContent()).toContain('ACTIVE');
  expect(await page.locator(`[title="${second}"]`).count()).toBe(0);
  expect(await guest.pid()).toBe(qemu);
  expect(complaints).toEqual([]);
});
