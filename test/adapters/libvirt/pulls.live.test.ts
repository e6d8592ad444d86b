/** Several disks of one guest are worked on at the same time (see `Pulls`), and QEMU lives. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '#adapters/system/clock.ts';
import { Pulls } from '#app/pulls.ts';
import type { FileName, ServerId, VolumeId } from '#domain/ids.ts';
import type { DiskView } from '#domain/sight.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Guest } from '../../live/lab/guest.ts';
import { hypervisorOfLab } from '../../live/lab/hypervisor.ts';
import { createImage, createOverlay } from '../../live/lab/images.ts';
import { type Lab, openLab } from '../../live/lab/lab.ts';

const MIB = 1024 * 1024;
const DISKS = 8;

let lab: Lab<null>;
let hypervisor: Hypervisor;

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  hypervisor = new Pulls(systemClock).guard(lab.keep(await hypervisorOfLab()));
});
afterAll(() => lab?.[Symbol.asyncDispose]());

interface Stage {
  readonly guest: Guest;
  readonly volumes: readonly VolumeId[];
}

/** Each disk is an overlay on a raw base, and a second overlay is ready for it. */
async function stage(): Promise<Stage> {
  const volumes = Array.from({ length: DISKS }, () => randomUUID() as VolumeId);
  const at = (name: string) => join(lab.images, name);
  for (const volume of volumes) {
    await createImage(at(volume), { format: 'raw', size: 8 * MIB });
    await createOverlay(at(`${volume}.1`), { name: volume, format: 'raw' });
    await createOverlay(at(`${volume}.2`), { name: `${volume}.1`, format: 'qcow2' });
  }
  const disks = volumes.map((id) => ({ path: at(`${id}.1`), format: 'qcow2', serial: id }));
  return { guest: await lab.guest({ disks }), volumes };
}

const sees = async ({ guest }: Stage, volume: VolumeId): Promise<DiskView> => {
  const seen = await hypervisor.look({ server: guest.uuid as ServerId, volume });
  if (!seen.ok || seen.value.kind !== 'disk') throw new Error(JSON.stringify(seen));
  return seen.value;
};

async function pull(it: Stage, volume: VolumeId): Promise<void> {
  const { server, target, process } = await sees(it, volume);
  const merge = { kind: 'pull', onto: null } as const;
  const chain = [`${volume}.1`, volume] as FileName[];
  const order = { server, volume, target, process: process!, merge, chain };
  for (
    let asked = await hypervisor.merge(order);
    !asked.ok;
    asked = await hypervisor.merge(order)
  ) {
    expect(asked.error).toMatchObject({ code: 84 });
  }
  while ((await sees(it, volume)).job !== null) await sleep(5);
  expect((await sees(it, volume)).chain.on).toBeNull();
}

async function snapshot(it: Stage, volume: VolumeId): Promise<void> {
  const { server, target, process } = await sees(it, volume);
  const [file, active] = [`${volume}.2`, `${volume}.1`] as [FileName, FileName];
  const order = { server, volume, target, process, directory: lab.images, file, active };
  expect(await hypervisor.snapshot(order)).toEqual({ ok: true, value: null });
}

test('all disks are pulled at once', async () => {
  for (let round = 0; round < 3; round++) {
    const it = await stage();
    await Promise.all(it.volumes.map((volume) => pull(it, volume)));
    expect(await it.guest.state()).toBe('paused');
  }
});

test('half of the disks are pulled while snapshots of the others are taken', async () => {
  for (let round = 0; round < 3; round++) {
    const it = await stage();
    await Promise.all(
      it.volumes.map((volume, at) => (at % 2 === 0 ? pull(it, volume) : snapshot(it, volume))),
    );
    expect(await it.guest.state()).toBe('paused');
  }
});
