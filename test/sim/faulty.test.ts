import { expect, test } from 'vitest';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { faulty, Life } from '#sim/faulty.ts';
import { overheard } from '#sim/overheard.ts';

const ID = '11111111-0000-4000-8000-000000000000' as SnapshotId;
const LOST = { kind: 'unknown', who: 'Cinder', detail: 'no answer' } as const;

function world() {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock });
  const { volume, cinder, volumes } = cloud;
  const row = { id: ID, volume, status: 'deleting', progress: '90%', fileFormat: {} };
  cinder.snapshots.set(ID, row);
  return { clock, cloud, row, volumes };
}

const RESET = { kind: 'deleting', percent: 0 } as const;

test('a fault comes instead of the effect, or hides it', async () => {
  const { row, volumes } = world();
  const fates = ['before', 'after'] as const;
  const port = faulty(volumes, ({ nth }) => ({ when: fates[nth - 1] ?? 'after', fault: LOST }));
  expect(await port.update(ID, RESET)).toEqual({ ok: false, error: LOST });
  expect(row.progress).toBe('90%');
  expect(await port.update(ID, RESET)).toEqual({ ok: false, error: LOST });
  expect(row.progress).toBe('0%');
});

test.each([
  ['before', '90%'],
  ['after', '0%'],
] as const)('a process that dies %s a call leaves no more than that', async (when, progress) => {
  const { clock, cloud, row, volumes } = world();
  const life = new Life(2, when);
  const port = life.holds('cinder', volumes);
  const hypervisor = life.holds('libvirt', cloud.hypervisor, () => false);
  const heard: unknown[] = [];
  hypervisor.listen((happening) => heard.push(happening));
  cloud.hypervisor.tell({ kind: 'reconnected' });
  expect(await port.snapshot(ID)).toMatchObject({ ok: true });
  let answered = false;
  void port.update(ID, RESET).then(() => {
    answered = true;
  });
  await life.ended;
  await clock.advance(1_000);
  cloud.hypervisor.tell({ kind: 'reconnected' });
  void port.update(ID, { kind: 'delete-failed' });
  await clock.advance(1_000);
  expect([answered, row.progress, row.status]).toEqual([false, progress, 'deleting']);
  expect(heard).toEqual([{ kind: 'reconnected' }]);
  expect(life.calls).toEqual(['cinder snapshot', 'cinder update']);
});

test('what is overheard is one line per call', async () => {
  const { cloud, volumes } = world();
  const lines: string[] = [];
  const cinder = overheard('cinder', volumes, (line) => lines.push(line));
  const libvirt = overheard('libvirt', cloud.hypervisor, (line) => lines.push(line));
  const { server, volume } = cloud;
  await libvirt.look({ server, volume });
  await libvirt.look({ server, volume: 'other' as VolumeId });
  await cinder.update(ID, RESET);
  await cinder.activeFile('nobody');
  const [vm, vol] = [server.slice(0, 8), volume.slice(0, 8)];
  expect(lines).toEqual([
    `libvirt  look server=${vm} volume=${vol} → volume-${vol}, raw, on nothing`,
    `libvirt  look server=${vm} volume=other → absent (disk-not-found)`,
    'cinder   update 11111111 deleting percent=0 → accepted',
    'cinder   activeFile nobody → ok',
  ]);
});
