/**
 * The whole service over HTTP on both sides: a Cinder that knows the spec hears the formats and
 * the new statuses, a stock one the 90% it waits for, and the journal knows the formats either way.
 */
import { expect, test, vi } from 'vitest';
import type { SnapshotId } from '#domain/ids.ts';
import type { Dialect } from '#domain/status.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';

interface Story {
  readonly updates: readonly unknown[];
  readonly journal: Readonly<Record<string, string>>[];
  /** A file of the volume by what it is to the story. */
  readonly base: string;
  readonly snapshots: readonly string[];
}

/** Two creates, a commit, a pull of everything. */
async function story(knows: Dialect): Promise<Story> {
  await using host = await SimulatedHost.open({ port: 0, tickMs: 10, knows });
  const { cloud } = host;
  const { cinder, volume } = cloud;
  const base = `volume-${volume}`;
  cloud.disk.write(1, 0x11);
  const first = await cinder.createSnapshot(volume);
  cloud.disk.write(2, 0x22);
  const second = await cinder.createSnapshot(volume);
  expect([first.status, second.status]).toEqual(['available', 'available']);
  expect((await cinder.deleteSnapshot(first.snapshot)).status).toBe('deleted');
  expect((await cinder.deleteSnapshot(second.snapshot)).status).toBe('deleted');
  const ended = await host.hexagon.inspect.operations('ended', 10);
  const name = (id: SnapshotId) => `${base}.${id}`;
  return {
    base,
    snapshots: [name(first.snapshot), name(second.snapshot)],
    updates: cinder.updates
      .filter((update) => update.accepted)
      .map(({ body }) => (body as Record<string, unknown>)['os-update_snapshot_status']),
    journal: ended
      .toReversed()
      .map(({ saga }) =>
        Object.fromEntries(
          (saga.at === 'end' ? saga.formats : []).map((one) => [one.file, one.format]),
        ),
      ),
  };
}

const told = (status: string, file_format: Readonly<Record<string, string>> | null) => ({
  status,
  progress: '90%',
  ...(file_format !== null && { file_format }),
});
const reset = { status: 'deleting', progress: '0%' };

vi.setConfig({ testTimeout: 30_000 });

test.concurrent.each<[Dialect, string, string, boolean]>([
  ['spec', 'creating_compute_complete', 'deleting_compute_complete', true],
  ['format', 'creating', 'deleting', true],
  ['status', 'creating_compute_complete', 'deleting_compute_complete', false],
  ['stock', 'creating', 'deleting', false],
])('a Cinder that knows %s', async (knows, creating, deleting, formats) => {
  const { updates, journal, base, snapshots } = await story(knows);
  const [first = '', second = ''] = snapshots;
  // The oldest snapshot's overlay is committed into the base, which stays raw; then the base is
  // pulled away, and the volume is qcow2 from then on.
  const expected = [
    { [first]: 'qcow2' },
    { [second]: 'qcow2' },
    { [base]: 'raw' },
    { [second]: 'qcow2' },
  ];
  const [one, two, three, four] = expected.map((format) => (formats ? format : null));
  expect(updates).toEqual([
    told(creating, one ?? null),
    told(creating, two ?? null),
    reset,
    told(deleting, three ?? null),
    reset,
    told(deleting, four ?? null),
  ]);
  expect(journal).toEqual(expected);
});
