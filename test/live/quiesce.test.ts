/**
 * Snapshots with the guest's file systems frozen, over real libvirt and QEMU and an agent that can
 * be told to misbehave (lab/guest-agent.ts). What libvirt leaves frozen is thawed by us.
 */
import { randomUUID } from 'node:crypto';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { Life } from '#sim/faulty.ts';
import { instead } from './instead.ts';
import { GuestAgent, guestWithChannel, type Manner } from './lab/guest-agent.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { type Lab, openLab } from './lab/lab.ts';
import { killLibvirtd } from './lab/libvirt.ts';
import { waitFor } from './lab/processes.ts';
import { RememberedVolumes } from './remembered-volumes.ts';
import { askCreate } from './requests.ts';
import { inProcess, place, tellOnFailure } from './service.ts';

/** The agent's, in seconds: long enough for a busy machine. */
const PATIENCE_S = 2;

let lab: Lab<null>;
const volumes = new RememberedVolumes();
const withoutCinder = wrapped(TOKEN.volumes, () => volumes);
/** The guard taken away: libvirt's own thaw is all there is. */
const withoutThaw = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, { thaw: async () => ok(null) }),
);

beforeAll(async () => {
  lab = await openLab({ cinder: false });
});

afterAll(() => lab?.[Symbol.asyncDispose]());

const FROZEN = ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw'];

describe('an agent that obeys', () => {
  test('freezes before the switch and thaws after it, and once more', async () => {
    await using scene = await open('required');
    expect(await scene.snapshot()).toMatchObject({ kind: 'created' });
    expect(scene.agent.heard).toEqual([...FROZEN, 'guest-fsfreeze-thaw']);
    expect(await scene.outcome()).toEqual(['quiesced']);
    expect(await scene.active()).toBe(scene.overlay);
  });

  test('is left alone where nobody wants it', async () => {
    await using scene = await open('never');
    expect(await scene.snapshot()).toMatchObject({ kind: 'created' });
    expect(scene.agent.heard).toEqual([]);
    expect(await scene.outcome()).toEqual([]);
  });
});

describe('no agent that is connected', () => {
  test('auto: the snapshot is taken at once without, and that is written down', async () => {
    await using scene = await open('auto');
    await scene.disconnect();
    const began = performance.now();
    expect(await scene.snapshot()).toMatchObject({ kind: 'created' });
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(await scene.outcome()).toEqual(['not-quiesced']);
  });

  test('required: the request is refused, and the chain is as it was', async () => {
    await using scene = await open('required');
    await scene.disconnect();
    const { status, says } = await scene.ask();
    expect([status, says]).toEqual([400, expect.stringContaining('is not connected')]);
    expect(await scene.active()).toBe(scene.base);
  });

  test('auto: of a guest that is paused nothing is frozen, and it is done without', async () => {
    await using scene = await open('auto');
    await scene.guest.suspend();
    expect(await scene.snapshot()).toMatchObject({ kind: 'created' });
    expect(scene.agent.heard).toEqual([]);
    expect(await scene.outcome()).toEqual(['not-quiesced']);
  });
});

describe('an agent that refuses to freeze', () => {
  test('auto: thawed, then taken without', async () => {
    await using scene = await open('auto', 'refuses');
    expect(await scene.snapshot()).toMatchObject({ kind: 'created' });
    expect(scene.agent.heard).toEqual(FROZEN);
    expect(await scene.outcome()).toEqual(['not-quiesced']);
  });

  test('required: the create fails, and the chain is as it was', async () => {
    await using scene = await open('required', 'refuses');
    expect(await scene.snapshot()).toMatchObject({ kind: 'create-failed' });
    expect(await scene.active()).toBe(scene.base);
    expect(scene.agent.frozen).toBe(false);
  });
});

/** libvirt gives up, thaws nothing, and then the freeze comes through. */
describe('a freeze that comes through when its time is over', () => {
  const slow = { slowMs: (PATIENCE_S + 3) * 1000 };

  test.each(['auto', 'required'] as const)('%s: is thawed', async (mode) => {
    await using scene = await open(mode, slow);
    const told = mode === 'auto' ? 'created' : 'create-failed';
    expect(await scene.snapshot()).toMatchObject({ kind: told });
    await scene.rest();
    expect(scene.agent.frozen).toBe(false);
    expect(await scene.active()).toBe(mode === 'auto' ? scene.overlay : scene.base);
  });

  test('without a thaw of ours the guest stays frozen', async () => {
    await using scene = await open('auto', slow, withoutThaw);
    await scene.snapshot();
    await scene.rest();
    expect(scene.agent.frozen).toBe(true);
  });

  test('is thawed by the next process, when the one that asked is killed', async () => {
    const life = new Life();
    const left = new AsyncDisposableStack();
    const mortal = wrapped(TOKEN.hypervisor, (made) => {
      left.defer(() => made[Symbol.asyncDispose]());
      return life.holds('libvirt', made);
    });
    const journal = wrapped(TOKEN.journal, (made) => {
      left.defer(() => made[Symbol.asyncDispose]());
      return life.holds('journal', made);
    });
    await using scene = await open('auto', slow, mortal, journal);
    expect(await scene.ask()).toMatchObject({ status: 200 });
    await waitFor('the freeze', () => scene.agent.heard.length > 0, { everyMs: 10 });
    life.end();
    // What it had asked of libvirt goes on, and nobody hears the answer.
    await left.disposeAsync();
    await scene.restart();
    expect(await scene.hear()).toMatchObject({ kind: 'created' });
    await scene.rest();
    expect(scene.agent.frozen).toBe(false);
    expect(await scene.outcome()).toEqual(['not-quiesced']);
  });

  test('is thawed when libvirtd was killed in the middle of it', async (context) => {
    await using scene = await open('auto', { slowMs: 1_500 });
    expect(await scene.ask()).toMatchObject({ status: 200 });
    await waitFor('the freeze', () => scene.agent.heard.length > 0, { everyMs: 10 });
    const frozen = () => waitFor('it is frozen', () => scene.agent.frozen, { everyMs: 10 });
    if (!(await killLibvirtd(lab.dir, frozen))) return context.skip('libvirtd is not ours');
    scene.agent.freeze = 'obeys';
    expect(await scene.hear()).toMatchObject({ kind: 'created' });
    expect(scene.agent.frozen).toBe(false);
    expect(scene.agent.heard).toEqual(FROZEN);
  });
});

/** H8: libvirt says no to what it has done. */
describe('an agent that refuses to thaw', () => {
  test('the switch is what it is, and the guest is thawed when it can be', async () => {
    await using scene = await open('required');
    scene.agent.thaw = 'refuses';
    expect(await scene.ask()).toMatchObject({ status: 200 });
    await waitFor('a second thaw', () => scene.agent.heard.length > 2, { everyMs: 10 });
    expect(scene.agent.frozen).toBe(true);
    scene.agent.thaw = 'obeys';
    expect(await scene.hear()).toMatchObject({ kind: 'created' });
    expect(scene.agent.frozen).toBe(false);
    expect(await scene.outcome()).toEqual(['quiesced']);
  });
});

/** A running guest with an agent, a volume with an overlay as Cinder makes it, the service. */
async function open(
  quiesce: 'auto' | 'required' | 'never',
  freeze: Manner = 'obeys',
  ...modules: Parameters<typeof inProcess>[1][]
) {
  await using parts = new AsyncDisposableStack();
  const more = `[libvirt]\nquiesce = ${quiesce}\nagent_timeout = ${PATIENCE_S}\n`;
  const another = () => place(join(lab.dir, randomUUID()), 'http://127.0.0.1:9', more);
  const at = await another();
  tellOnFailure(at);
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = await createImage(join(lab.images, base), { format: 'raw', size: 16 * MIB });
  const disks = [{ path, format: 'raw', serial: volume }];
  const { guest, socket } = await guestWithChannel(lab, { disks });
  const agent = parts.use(await GuestAgent.start(guest, socket));
  agent.freeze = freeze;
  volumes.attach(volume, guest.uuid);
  const id = volumes.put(volume, 'creating');
  const overlay = `${base}.${id}`;
  await createOverlay(join(lab.images, overlay), { name: base, format: 'raw' });
  let service = await inProcess(at, withoutCinder, ...modules);
  parts.defer(() => service[Symbol.asyncDispose]());
  const ask = () => askCreate(at, volume, id, overlay);
  const hear = () => volumes.hear(id);
  const all = parts.move();
  return {
    ...{ guest, agent, base, overlay, ask, hear },
    /** Asks, and answers what Cinder hears in the end. */
    async snapshot() {
      expect(await ask()).toMatchObject({ status: 200 });
      return hear();
    },
    /** Another process on the same journal, while this one does nothing any more. */
    async restart() {
      void service[Symbol.asyncDispose]();
      const { config, ...rest } = await another();
      const next = { ...rest, config: { ...config, statePath: at.config.statePath } };
      service = await inProcess(next, withoutCinder);
    },
    /** The agent in the guest is stopped. */
    async disconnect() {
      await agent[Symbol.asyncDispose]();
      const off = async () => (await guest.xml()).includes("state='disconnected'");
      await waitFor('libvirt to see that the agent is gone', off, { everyMs: 20 });
    },
    async active() {
      return basename((await guest.tops()).vda?.path ?? '');
    },
    /** What was written down of the freeze. */
    async outcome() {
      const [operation] = await service.inspect.operations('all', 1);
      const { evidence = [] } =
        (operation && (await service.inspect.operation(operation.id))) ?? {};
      const kinds = evidence.map(({ kind }) => kind);
      return kinds.filter((kind) => /quiesced|frozen/.test(kind));
    },
    /** Nothing more comes from an agent that took its time. */
    rest: () => waitFor('the agent to be done', () => !agent.busy, { everyMs: 20 }),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

const MIB = 1024 * 1024;
