import { leaveOpen } from '../world/left-open.ts';
import { acceptedBy, type SeenCall } from '../world/watcher.ts';
import type { Teller } from './teller.ts';

/** A short story of one kind of request, with everything before it that it needs. */
export interface Tale {
  readonly name: string;
  /** How the world is: see `Choices`. */
  readonly given?: Readonly<Record<string, number>>;
  readonly tell: (it: Teller) => Promise<void>;
}

/** A guest that has written; `names` are snapshots that it has, the oldest first. */
async function having(it: Teller, ...names: readonly string[]): Promise<void> {
  for (const at of [1, 3]) await it.write(at, 0x11);
  for (const [at, name] of names.entries()) {
    await it.take(name);
    // The last cluster too: a merge moves it last, and an idle guest flushes nothing after that.
    for (const cluster of [at, 3]) await it.write(cluster, 0x22 + at);
  }
  await it.begin();
  await it.scribble(2, 0x77);
}

/** The delete of a snapshot, with the guest writing while it is merged away. */
async function removing(it: Teller, name: string, attempts?: number): Promise<void> {
  await Promise.all([it.remove(name, attempts), it.meanwhile(250, () => it.scribble(0, 0x99))]);
}

/** A delete while the guest is off, which then starts as libvirt has it configured. */
async function stopped(it: Teller, gone: string, ...names: readonly string[]): Promise<void> {
  await having(it, ...names);
  it.guests.end(it.disk.guest, 'stopped');
  await it.remove(gone);
  await it.atRest();
  it.guests.start(it.disk.guest);
}

const COMMIT = async (it: Teller) => {
  await having(it, 'A', 'B');
  await removing(it, 'A');
};
const PULL = async (it: Teller) => {
  await having(it, 'A', 'B');
  await removing(it, 'B');
};
const PULL_ALL = async (it: Teller) => {
  await having(it, 'A');
  await removing(it, 'A');
};
const CREATE = async (it: Teller) => {
  await having(it);
  await it.take('A');
  await it.write(3, 0x33);
};

const AGENT = { 'guest has an agent#0': 3 };
export const SEALED = { 'volume is encrypted#0': 23 };

export const TALES: readonly Tale[] = [
  { name: 'a create', tell: CREATE },
  { name: 'a create on top of another', tell: (it) => having(it, 'A').then(() => it.take('B')) },
  {
    name: 'a create whose overlay is mended after an attack',
    tell: async (it) => {
      it.truth.forge({});
      await having(it);
      await it.take('A');
    },
  },
  { name: 'a delete by commit', tell: COMMIT },
  { name: 'a delete by pull onto another', tell: PULL },
  { name: 'a delete by pull of everything', tell: PULL_ALL },
  {
    name: 'a create that is refused',
    given: { 'overlay has a data file#0': 1 },
    tell: async (it) => {
      await having(it);
      await it.take('A', 1);
    },
  },
  {
    name: 'a create that fails',
    tell: async (it) => {
      await having(it);
      onceAccepted(it, () => {
        const file = it.world.cloud.share.file(
          `volume-${it.disk.volume}.${it.names.get('A')}` as never,
        );
        if (file?.header) file.header = { ...file.header, features: 2 };
      });
      await it.take('A', 1);
    },
  },
  {
    name: 'a create that is withdrawn',
    tell: async (it) => {
      await having(it);
      onceAccepted(it, () => reset(it, 'A', 'error'));
      await it.take('A', 1);
    },
  },
  {
    name: 'a delete whose job fails',
    tell: async (it) => {
      await having(it, 'A', 'B');
      it.world.cloud.share.space = 0;
      await removing(it, 'A', 1);
      await it.atRest();
      it.world.cloud.share.space = Number.POSITIVE_INFINITY;
    },
  },
  {
    name: 'a delete that is withdrawn',
    tell: async (it) => {
      await having(it, 'A', 'B');
      onceAccepted(it, () => reset(it, 'A', 'error'));
      await it.remove('A', 1);
    },
  },
  {
    name: 'a create that is asked for twice',
    given: { 'request doubled#0': 1, 'request doubled after#0': 1 },
    tell: CREATE,
  },
  {
    name: 'a delete that is asked for twice',
    given: { 'request doubled#2': 1, 'request doubled after#0': 1 },
    tell: COMMIT,
  },
  {
    name: 'a create that waits behind a delete',
    given: { 'answer lost#2': 1 },
    tell: async (it) => {
      await having(it, 'A', 'B');
      await it.remove('A', 1);
      await it.take('C');
      await it.atRest();
      await it.remove('A');
    },
  },
  {
    name: 'a delete by commit into a base that a cancelled active commit left open',
    given: SPEC(),
    tell: async (it) => {
      await it.write(1, 0x11);
      await it.take('A');
      leaveOpen(it.disk.disk);
      for (const at of [0, 3]) await it.write(at, 0x22);
      await it.take('B');
      await it.write(1, 0x33);
      await it.begin();
      await removing(it, 'A');
    },
  },
  {
    name: "a stopped guest's create",
    tell: async (it) => {
      await having(it);
      it.guests.end(it.disk.guest, 'stopped');
      await it.take('A');
      await it.atRest();
      it.guests.start(it.disk.guest);
    },
  },
  { name: "a stopped guest's delete by commit", tell: (it) => stopped(it, 'A', 'A', 'B') },
  { name: "a stopped guest's delete by pull", tell: (it) => stopped(it, 'B', 'A', 'B') },
  { name: "a stopped guest's delete by pull of everything", tell: (it) => stopped(it, 'A', 'A') },
  { name: 'a create on a qcow2 base, for a Cinder of the spec', given: SPEC(), tell: CREATE },
  {
    name: 'a delete by pull of everything, old libvirt',
    given: { 'old libvirt#0': 5 },
    tell: PULL_ALL,
  },
  { name: 'a delete by commit, for a Cinder of the spec', given: SPEC(), tell: COMMIT },
  { name: 'a create with a freeze', given: AGENT, tell: CREATE },
  {
    name: 'a create whose freeze is late',
    given: { ...AGENT, 'agent hangs in a freeze#0': 1 },
    tell: CREATE,
  },
  {
    name: 'a create whose thaw is refused',
    given: { ...AGENT, 'agent refuses to thaw#0': 1 },
    tell: CREATE,
  },
  { name: 'a create on an encrypted volume', given: SEALED, tell: CREATE },
  { name: 'a delete by commit, encrypted', given: SEALED, tell: COMMIT },
  { name: 'a delete by pull onto another, encrypted', given: SEALED, tell: PULL },
  { name: 'a delete by pull of everything, encrypted', given: SEALED, tell: PULL_ALL },
];

function SPEC() {
  return { 'base#0': 2, 'Cinder knows#0': 2 };
}

/** As soon as a request is written down as accepted, something happens, and only once. */
function onceAccepted({ world }: Teller, happens: () => void): void {
  let did = false;
  world.watchers.push({
    reached: (call: SeenCall) => {
      if (did || acceptedBy(call) === null) return;
      did = true;
      happens();
    },
  });
}

/** An admin sets a status, which is nobody's fault. */
function reset({ world, names, disk }: Teller, name: string, status: string): void {
  const id = names.get(name);
  if (id === undefined) return;
  world.cloud.cinder.resetState(id, status);
  world.meddled.add(id);
  world.excuse(disk.volume, 'drift record');
}
