import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { FileName, SnapshotId } from '#domain/ids.ts';
import { Life } from '#sim/faulty.ts';
import { coldView } from '#sim/world/truth.ts';
import { World } from './world.ts';

vi.setConfig({ testTimeout: 120_000 });

const CLUSTERS = 6;

/** Cinder's truth, and the guest's: which snapshots there are, and what each must read as. */
interface Model {
  readonly bytes: number[];
  snapshots: { readonly name: number; readonly frozen: readonly number[] }[];
  /** Snapshots whose delete was asked for and not waited for. */
  leaving: number[];
  taken: number;
}

/** The whole service on the sim, and what is under way in it. */
class Real {
  readonly #lives = Array.from({ length: 200 }, () => new Life());
  readonly world = new World({ lives: this.#lives });
  readonly ids = new Map<number, SnapshotId>();
  readonly pending = new Set<Promise<unknown>>();

  killService(): void {
    this.#lives[this.world.deaths]?.end();
  }

  /** A merge that QEMU takes with it is for the law of QEMU's death, not for this model. */
  get merging(): boolean {
    const { journal } = this.world;
    return journal.all.some(({ saga }) => saga.at === 'merging' || saga.at === 'flushing');
  }

  until<T>(promise: Promise<T>): Promise<T> {
    return this.world.clock.until(promise);
  }

  ask(promise: Promise<unknown>): void {
    this.pending.add(promise);
    void promise.finally(() => this.pending.delete(promise));
  }

  async settle(model: Model): Promise<void> {
    // Cinder waits 7200 s for a delete; nothing here takes it more than some minutes.
    await this.world.clock.until(Promise.all(this.pending), 600_000);
    await this.world.clock.advance(90_000);
    model.leaving = [];
  }

  /** What a snapshot reads as: the file below the overlay that Cinder made for it. */
  read(name: number): readonly unknown[] | string {
    const { disk, cinder, share, volume } = this.world.cloud;
    const overlay = cinder.info(volume)?.[this.ids.get(name) as SnapshotId];
    if (overlay === undefined) return 'Cinder does not list it';
    const below = disk.node(overlay)?.backing;
    if (below) return Array.from({ length: CLUSTERS }, (_, at) => below.read(at));
    const backing = share.file(overlay)?.header?.backing as FileName;
    const format = share.file(backing)?.format;
    return format === undefined ? 'there is no file' : coldView(share, backing, format);
  }
}

type Command = fc.AsyncCommand<Model, Real>;

/** Does something, and then holds all that can be read against the model. */
const command = (
  words: string,
  run: (model: Model, real: Real) => Promise<void> | void,
  check: (model: Model) => boolean = () => true,
): Command => ({
  check,
  toString: () => words,
  run: async (model, real) => {
    await run(model, real);
    expect(real.world.cloud.disk.view(), 'what the guest reads').toEqual(model.bytes);
    for (const { name, frozen } of model.snapshots) {
      expect(real.read(name), `snapshot ${name}`).toEqual(frozen);
    }
  },
});

const did = { killed: 0, restarted: 0, twice: 0, under: 0, removed: 0 };

const take = command(
  'take',
  async (model, real) => {
    const name = model.taken++;
    const frozen = [...model.bytes];
    await real.settle(model);
    real.ids.set(name, await real.until(real.world.take()));
    model.snapshots.push({ name, frozen });
  },
  ({ snapshots }) => snapshots.length < 5,
);

const remove = (which: number, wait: boolean) =>
  command(
    `remove ${which}${wait ? '' : ', and do not wait'}`,
    async (model, real) => {
      const { name } = model.snapshots.splice(which % model.snapshots.length, 1)[0]!;
      model.leaving.push(name);
      did.removed++;
      real.ask(real.world.remove(real.ids.get(name)!));
      if (wait) await real.settle(model);
    },
    ({ snapshots }) => snapshots.length > 0,
  );

const write = (at: number, byte: number) =>
  command(`write ${byte} to ${at}`, (model, { world }) => {
    model.bytes[at] = byte;
    world.cloud.disk.write(at, byte);
    world.cloud.disk.flush();
  });

/** The service dies in the middle of a merge, however far it is by then. */
const removeAndKill = (which: number, ms: number) =>
  command(
    `remove ${which}, and kill the service after ${ms} ms`,
    async (model, real) => {
      await remove(which, false).run(model, real);
      await real.world.clock.advance(ms);
      await killService.run(model, real);
    },
    ({ snapshots }) => snapshots.length > 0,
  );

const wait = (ms: number) => command(`wait ${ms} ms`, (_, { world }) => world.clock.advance(ms));

const killService = command('kill the service', async (_, real) => {
  did.killed++;
  if (real.pending.size > 0) did.under++;
  real.killService();
  await real.world.clock.advance(100);
});

const killQemu = command('kill QEMU, and start the guest', (_, real) => {
  if (real.merging) return;
  did.restarted++;
  real.world.cloud.hypervisor.end(real.world.cloud.server, 'killed');
  real.world.cloud.hypervisor.start(real.world.cloud.server);
});

/** Whoever sent the last request sends it again: a client, or what balances the load. */
const again = command('the last request once more', async (_, { world, ids, pending }) => {
  const { cinder, volume } = world.cloud;
  const id = [...ids.values()].at(-1);
  const file = id && cinder.info(volume)?.[id];
  if (pending.size > 0 || file === undefined) return;
  did.twice++;
  const caller = { requestId: 'req-again', globalRequestId: null };
  await world.clock.until(
    Promise.race([
      world.again({ volume, snapshot: id as SnapshotId, newFile: file }, caller),
      world.clock.sleep(20_000),
    ]),
  );
});

const commands = fc.commands(
  [
    fc.constant(take),
    fc.tuple(fc.nat(4), fc.boolean()).map(([which, waits]) => remove(which, waits)),
    fc
      .tuple(fc.nat(CLUSTERS - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, byte]) => write(at, byte)),
    fc.constantFrom(30, 250, 600, 2_000, 20_000).map(wait),
    fc.tuple(fc.nat(4), fc.nat(1_500)).map(([which, ms]) => removeAndKill(which, ms)),
    fc.constant(killService),
    fc.constant(killQemu),
    fc.constant(again),
  ],
  { maxCommands: 25, size: 'max' },
);

test('whatever is asked and whoever dies, Cinder and the guest have what they should', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (all) => {
      let real: Real | null = null;
      const model: Model = { bytes: Array(CLUSTERS).fill(0), snapshots: [], leaving: [], taken: 0 };
      await fc.asyncModelRun(async () => {
        real = new Real();
        await real.until(real.world.boot());
        return { model, real };
      }, all);
      const it = real as Real | null;
      if (it === null) return;
      await it.settle(model);
      const { live, headers, cinder } = it.world.witnesses();
      expect(headers).toEqual(live);
      expect(cinder).toBe(live[0]);
      expect(live).toHaveLength(1 + model.snapshots.length);
      expect([...it.world.cloud.cinder.snapshots.values()].map(({ status }) => status)).toEqual(
        model.snapshots.map(() => 'available'),
      );
      expect(it.world.defects).toEqual([]);
    }),
    { numRuns: 200 },
  );
  for (const [what, times] of Object.entries(did)) expect(times, what).toBeGreaterThan(20);
});
