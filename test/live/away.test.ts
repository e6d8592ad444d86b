/** Cinder's API is away while a merge ends; ours may be restarted meanwhile. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '#adapters/operator/client.ts';
import type { Cinder } from './lab/cinder.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { waitFor } from './lab/processes.ts';
import { type Place, place, Served, tellOnFailure } from './service.ts';
import { expectAgreement } from './witnesses.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

let lab: Lab<Cinder>;
let at: Place;
let served: Served;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  const slow = '[libvirt]\nbandwidth_mib = 1\n'; // time enough to stop Cinder before the end
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint, slow);
  served = lab.keep(new Served(at));
  await Promise.all([lab.cinder.setNovaEndpoint(at.url), served.start()]);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

interface OperationJson {
  readonly id: string;
  readonly snapshot: string;
  readonly state: string;
  readonly outcome: string | null;
}

/** The newest operation on a snapshot, as the running service tells it. */
async function operationOn(snapshot: string): Promise<OperationJson | undefined> {
  const reply = await ask(at.socket, '/v1/operations');
  if (reply.kind !== 'ok') throw new Error(JSON.stringify(reply));
  const { operations } = reply.body as { operations: OperationJson[] };
  return operations.find((one) => one.snapshot === snapshot);
}

test.each([{ restarted: false }, { restarted: true }])(
  'what a merge came to is told when Cinder is back (we were restarted: $restarted)',
  async ({ restarted }) => {
    tellOnFailure(at, lab.cinder);
    const { cinder } = lab;
    const { volumeId, attached, guest } = await attachedGuest(lab);
    await guest.write('vda', 0, 256 * KIB, 0x10);
    const ids: string[] = [];
    for (const byte of [0x21, 0x32]) {
      const id = await cinder.createSnapshot(volumeId);
      await cinder.waitSnapshot(id, 'available');
      await guest.write('vda', (byte & 15) * 16 * MIB, 6 * MIB, byte);
      ids.push(id);
    }
    const newest = ids[1] ?? '';
    const written = await guest.hash('vda');

    await cinder.deleteSnapshot(newest);
    const merging = async () => (await operationOn(newest))?.state === 'merging';
    await waitFor('the merge to begin', merging, { everyMs: 50 });
    await cinder.stopApi();
    await expect(cinder.getSnapshot(newest)).rejects.toThrow();
    expect(await merging(), 'Cinder went before the merge ended').toBe(true);
    const outcome = async () => (await operationOn(newest))?.outcome;
    expect(await waitFor('the merge to end', outcome, { everyMs: 50 })).toBe('merged');
    if (restarted) {
      expect(await served.stop()).toBe(0);
      await served.start();
    }
    await cinder.startApi();
    await cinder.waitSnapshot(newest, 'gone');
    expect(await expectAgreement(cinder, guest, volumeId, attached.path)).toHaveLength(2);
    expect(await guest.hash('vda')).toBe(written);
  },
);
