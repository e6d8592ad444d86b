/**
 * What `chainkeeper doctor` says of a host that is well, of a header that lies and of an overlay
 * that Cinder does not know, and that what it says to do mends it.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { VolumeId } from '#domain/ids.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { virsh } from './lab/libvirt.ts';
import { askCreate } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const run = promisify(execFile);

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;

interface Row {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'error';
  readonly saw: string;
  readonly do: string;
}

/** The command, as it is typed: its rows and its exit code. */
async function doctor(): Promise<{ readonly code: number; readonly rows: readonly Row[] }> {
  const args = ['bin/chainkeeper.js', 'doctor', '--config-file', stage.at.conf, '-f', 'json'];
  const ended = await run(process.execPath, args).catch((error) => error);
  return { code: ended.code ?? 0, rows: JSON.parse(ended.stdout) };
}

async function about(volumeId: string): Promise<readonly Row[]> {
  const { rows } = await doctor();
  return rows.filter(({ check }) => check === `volume ${volumeId}`);
}

/** Does what the doctor says, from this word on. */
async function obey(row: Row | undefined, from: string): Promise<void> {
  const command = row?.do.slice(row.do.indexOf(from)) ?? '';
  expect(command.startsWith(from), row?.do).toBe(true);
  await run('/bin/sh', ['-c', command]);
}

/** The backing name in the header is cut short, as somebody's hand or a broken disk would. */
async function cutName(path: string, to: string): Promise<void> {
  const file = await open(path, 'r+');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(to));
  await file.write(length, 0, 4, 16);
  await file.close();
}

test('a lying header and an overlay that Cinder does not know are mended as told', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const volumeId = randomUUID() as VolumeId;
  const base = `volume-${volumeId}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'raw', size: 16 * MIB });
  const disks = [{ path: path(base), format: 'raw', serial: volumeId }];
  await using guest = await stage.lab.guest({ disks, persistent: true });
  volumes.attach(volumeId, guest.uuid);
  await guest.write('vda', 0, 256 * KIB, 0x10);
  const files = [base];
  const snapshot = async (): Promise<void> => {
    const id = volumes.put(volumeId, 'creating');
    const file = `${base}.${id}`;
    const below = files.at(-1) ?? base;
    await createOverlay(path(file), { name: below, format: below === base ? 'raw' : 'qcow2' });
    expect(await askCreate(stage.at, volumeId, id, file)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    volumes.believe(volumeId, file);
    files.push(file);
    await guest.write('vda', files.length * MIB, 64 * KIB, files.length);
  };
  await snapshot();
  await snapshot();
  const [, , active = ''] = files;
  await guest.flush('vda');
  const written = await guest.hash('vda');

  // Everything is well, but for a Cinder that is not there, and what others on this host have.
  const { rows } = await doctor();
  const notOurs = ['cinder', 'boot guard', 'nova'];
  const wrong = rows.filter(({ status, check }) => status !== 'ok' && !notOurs.includes(check));
  expect(wrong).toEqual([]);
  const saw = (name: string) => rows.find(({ check }) => check === name)?.saw;
  expect(saw('journal')).toContain(`is held by process ${process.pid} (`);
  expect(saw(`directory ${stage.lab.images}`)).toBe('it can be read');
  expect(saw('libvirt')).toMatch(/^libvirt \d/);

  // The newest header names the base, past the layer between.
  await cutName(path(active), base);
  const [lie, ...others] = await about(volumeId);
  expect(others).toEqual([]);
  expect(lie).toMatchObject({ status: 'error', saw: expect.stringMatching(/^header-behind: /) });
  // Nobody can write it while QEMU has it open; the doctor says to stop the guest first.
  expect(lie?.do).toContain(`virsh shutdown ${guest.uuid}`);
  await expect(obey(lie, 'qemu-img rebase')).rejects.toThrow(/lock/);
  await guest.destroy();
  const [off] = await about(volumeId);
  expect(off).toMatchObject({ status: 'error', saw: expect.stringMatching(/^config-overrides: /) });
  await obey(off, 'qemu-img rebase');
  expect(await about(volumeId)).toMatchObject([{ status: 'ok' }]);
  await guest.startFromTopOnly();
  expect(await guest.hash('vda')).toBe(written);
  expect(await about(volumeId)).toMatchObject([{ status: 'ok' }]);

  // Somebody snapshots the disk behind Cinder's back.
  const stranger = path(`${base}.stranger`);
  await createOverlay(stranger, { name: active, format: 'qcow2' });
  const spec = `vda,snapshot=external,file=${stranger}`;
  const flags = ['--disk-only', '--no-metadata', '--reuse-external', '--atomic'];
  await virsh('snapshot-create-as', guest.name, ...flags, '--diskspec', spec);
  await guest.write('vda', 8 * MIB, 64 * KIB, 0x43);
  const later = await guest.hash('vda');
  const [drift, count] = await about(volumeId);
  expect(drift).toMatchObject({ status: 'error', saw: expect.stringMatching(/^active-behind: /) });
  expect(count).toMatchObject({ saw: expect.stringMatching(/^layer-without-snapshot: /) });
  await obey(drift, 'virsh blockcommit');
  expect(await about(volumeId)).toMatchObject([{ status: 'ok' }]);
  expect(await guest.hash('vda')).toBe(later);
  // Cinder can go on from here.
  await snapshot();
  expect(await about(volumeId)).toMatchObject([{ status: 'ok' }]);
});

test('without the service it says so, and looks at the rest by itself', async () => {
  tellOnFailure(stage.at);
  const { code, rows } = await doctor();
  expect(code).toBe(1);
  const status = Object.fromEntries(rows.map((row) => [row.check, row.status]));
  expect(status).toMatchObject({
    service: 'warning',
    journal: 'ok',
    libvirt: 'ok',
    'qemu-img': 'ok',
    cinder: 'error',
  });
});
