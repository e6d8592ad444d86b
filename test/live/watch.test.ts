/**
 * What `ops watch` and /metrics tell of a merge on real QEMU: that libvirt's block jobs count in
 * bytes, and that rate and time left are the true ones.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Progress } from '#ports/inspect.ts';
import { askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const MIB = 2 ** 20;
const WHOLE = 16 * MIB;
const run = promisify(execFile);
const stage = stageWithoutCinder('[libvirt]\nbandwidth_mib = 1\n');
const { volumes, withoutCinder } = stage;

test('a merge of 16 MiB at 1 MiB a second', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder);
  const { volume, base, path, guest } = await stage.guestOnRaw();
  await using _guest = guest;
  const one = await stage.taken({ volume, path }, base);
  // All of the disk: what is not allocated would be done at once, and counts like the rest.
  await guest.write('vda', 0, WHOLE, 0x55);
  await stage.taken({ volume, path }, one);
  const id = volumes.put(volume, 'deleting');
  const info = { file_to_merge: one, merge_target_file: base };
  expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });

  const seen: Progress[] = [];
  await expect
    .poll(
      () => {
        const progress = service.inspect.progress(volume);
        if (progress?.rate) seen.push(progress);
        return seen.length > 20;
      },
      { timeout: 30_000, interval: 300 },
    )
    .toBe(true);
  const [operation] = await service.inspect.operations('all', 1);
  const args = ['bin/chainkeeper.js', 'ops', 'watch', operation?.id ?? ''];
  const { stdout } = await run(process.execPath, [...args, '--config-file', stage.at.conf]);
  expect(stdout).toContain('merged: ');
  for (const { total, rate, job } of seen) {
    expect([job, total]).toEqual(['commit', WHOLE]);
    expect(rate).toBeGreaterThan(0.5 * MIB);
    expect(rate).toBeLessThan(2 * MIB);
  }
  // The first second may be better than the limit.
  const said = seen.at(-1);
  const left = ((said?.total ?? 0) - (said?.done ?? 0)) / MIB;
  expect(Math.abs((said?.secondsLeft ?? 99) - left)).toBeLessThan(3);
  const text = await service.measures.exposition();
  const [, bytes] = /^chainkeeper_merge_bytes_total (\d+)$/m.exec(text) ?? [];
  expect(Number(bytes)).toBe(WHOLE);
});
