/**
 * SIGKILL of the service at random moments of what Cinder asks of it. When Cinder's call itself
 * is cut off, Cinder says error and never asks again: then the test does what an operator would.
 * What must hold in the end: nothing is lost, and the chain is what Cinder believes.
 */
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '#adapters/operator/client.ts';
import { type Doorway, openDoorway } from './doorway.ts';
import type { Cinder } from './lab/cinder.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { waitFor } from './lab/processes.ts';
import { type Place, place, Served, tellOnFailure } from './service.ts';
import { expectAgreement } from './witnesses.ts';

const ROUNDS = Number(process.env.CK_KILL_ROUNDS ?? 10);
const SEED = Number(process.env.CK_KILL_SEED ?? Date.now() % 100_000);
const KIB = 1024;
const MIB = 1024 * KIB;
/** The guest writes nowhere else, so that its bytes are soon read. */
const USED = 32 * MIB;

let lab: Lab<Cinder>;
let at: Place;
let served: Served;
let door: Doorway;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  const slow = '[libvirt]\nbandwidth_mib = 256\n'; // pulling all of the raw base takes 4 s
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint, slow);
  door = lab.keep(await openDoorway(at.port));
  served = lab.keep(new Served(at));
  const nova = `http://127.0.0.1:${door.port}/v2.1`;
  await Promise.all([lab.cinder.setNovaEndpoint(nova), served.start()]);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

test(
  `${ROUNDS} kills`,
  async () => {
    tellOnFailure(at, lab.cinder);
    const random = dice(SEED);
    const { cinder } = lab;
    const { volumeId, attached, guest } = await attachedGuest(lab);
    const bytes = () => guest.hash('vda', USED);
    const write = () => {
      const offset = Math.floor(random() * 31) * MIB;
      return guest.write('vda', offset, MIB, 1 + Math.floor(random() * 255));
    };
    const snapshots: string[] = [];
    const create = async () => {
      await write();
      const id = await cinder.createSnapshot(volumeId);
      await cinder.waitSnapshot(id, 'available');
      snapshots.push(id);
    };
    await create();
    // As in each round the service is a fresh one, which takes longer over its first request.
    const restart = async () => {
      await served.kill9();
      await served.start();
    };
    await restart();
    await create();
    const within = { create: await lasted(), delete: 0 };
    await restart();
    await deleted(snapshots.pop() ?? '');
    within.delete = await lasted();
    console.log(`CK_KILL_SEED=${SEED}, undisturbed they last ${JSON.stringify(within)} ms`);

    for (let round = 1; round <= ROUNDS; round++) {
      await write();
      const written = await bytes();
      const full = snapshots.length > 3;
      const kind = snapshots.length === 0 || (!full && random() < 0.5) ? 'create' : 'delete';
      const asked = door.nextRequest();
      const victim = Math.floor(random() * snapshots.length);
      const id =
        kind === 'create' ? await cinder.createSnapshot(volumeId) : (snapshots[victim] ?? '');
      if (kind === 'delete') await cinder.deleteSnapshot(id);
      await asked;
      // The first part of it goes to looking, with nothing written down yet.
      const moment = (0.35 + 0.8 * random()) * within[kind];
      await sleep(moment);
      await served.kill9();
      const hit = await lastStep(id, kind);
      let recovery = await served.start();
      if (random() < 0.25) {
        await sleep(random() * 100);
        await served.kill9();
        recovery += await served.start();
      }
      const status = await settled(id);
      const outcome = `up again in ${recovery.toFixed()} ms, Cinder says ${status}`;
      console.log(`${round}. ${kind} killed after ${moment.toFixed()} ms ${hit}; ${outcome}`);

      if (kind === 'create' && status === 'available') snapshots.push(id);
      else if (kind === 'create') await deleted(id);
      else {
        if (status !== 'gone') await deletedAgain(id);
        snapshots.splice(victim, 1);
      }
      const chain = await expectAgreement(cinder, guest, volumeId, attached.path);
      expect(chain.length).toBeGreaterThanOrEqual(Math.max(1, snapshots.length));
      expect(await bytes(), `bytes after round ${round}`).toBe(written);
    }
    const written = await guest.hash('vda');
    for (const id of snapshots) await deleted(id);
    await expectAgreement(cinder, guest, volumeId, attached.path);
    expect(await guest.hash('vda')).toBe(written);
    expect(await served.stop()).toBe(0);
    expect(await lastStep(null)).toBe('nothing left to do');
  },
  60_000 + ROUNDS * 30_000,
);

/** From the arrival of the newest request until its operation was at its end. */
async function lasted(): Promise<number> {
  const { arrivedAt } = door;
  return waitFor('the operation to end', async () => {
    const reply = await ask(at.socket, '/v1/operations?limit=1');
    if (reply.kind !== 'ok') return null;
    type Operations = { operations: { state: string; updated_at: string }[] };
    const [newest] = (reply.body as Operations).operations;
    return newest?.state === 'end' ? Date.parse(newest.updated_at) - arrivedAt : null;
  });
}

/** Where Cinder leaves a snapshot once it has stopped waiting. */
const settled = (id: string): Promise<string> =>
  waitFor(`Cinder to settle snapshot ${id}`, async () => {
    const status = (await lab.cinder.getSnapshot(id))?.status ?? 'gone';
    return status === 'creating' || status === 'deleting' ? null : status;
  });

async function deleted(id: string): Promise<void> {
  await lab.cinder.deleteSnapshot(id);
  await lab.cinder.waitSnapshot(id, 'gone');
}

async function deletedAgain(id: string): Promise<void> {
  await lab.cinder.resetSnapshotStatus(id, 'available');
  await deleted(id);
}

/** Read from a copy, so that the dead service's journal is found as it was left. */
async function lastStep(snapshot: string | null, kind = ''): Promise<string> {
  const copy = await mkdtemp(join(lab.dir, 'journal-'));
  const { statePath } = at.config;
  for (const name of await readdir(statePath)) {
    if (name.startsWith('journal.sqlite')) await copyFile(join(statePath, name), join(copy, name));
  }
  const journal = new DatabaseSync(join(copy, 'journal.sqlite'));
  try {
    const open = 'SELECT accepted, at, (SELECT max(n.state) FROM notice n ';
    const of = 'WHERE n.operation = o.id) AS told FROM operation o ';
    const last = 'WHERE snapshot = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1';
    const unfinished = "WHERE at <> 'end' OR told = 'pending' OR saga LIKE '%\"unknown\"%'";
    const row =
      snapshot === null
        ? journal.prepare(open + of + unfinished).get()
        : journal.prepare(open + of + last).get(snapshot, kind);
    if (row === undefined) return snapshot === null ? 'nothing left to do' : 'before it was asked';
    if (row.accepted === 0) return 'while it was asked';
    return row.at === 'end' ? `at the end, ${row.told}` : `while ${row.at}`;
  } finally {
    journal.close();
    await rm(copy, { recursive: true });
  }
}

/** mulberry32: the same moments for the same seed. */
function dice(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
