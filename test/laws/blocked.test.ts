import { expect, test, vi } from 'vitest';
import { RAW, type VolumeId } from '#domain/ids.ts';
import { Life, wrapped } from '#sim/faulty.ts';
import { World } from './world.ts';

vi.setConfig({ testTimeout: 60_000 });

/** Ports whose calls can hang for as long as they like. */
const OUTSIDE = ['libvirt', 'images', 'cinder'];

/** A process whose `nth` call of the outside never comes back, nor has any effect. */
class Hanging extends Life {
  readonly #nth: number;
  made = 0;

  constructor(nth: number) {
    super();
    this.#nth = nth;
  }

  override holds<T extends object>(name: string, port: T, counts?: (method: string) => boolean): T {
    if (!OUTSIDE.includes(name)) return super.holds(name, port, counts);
    const seam = wrapped(port, (method, args, call) =>
      method !== 'listen' && ++this.made === this.#nth ? new Promise(() => {}) : call(args),
    );
    return super.holds(name, seam, counts);
  }
}

/**
 * One volume's snapshot is taken and deleted, and in between another volume's; how many calls,
 * how long.
 */
async function tell(nth: number): Promise<{ made: number; tookMs: number }> {
  const life = new Hanging(nth);
  const world = new World({ lives: [life] });
  const { cinder, volume, disks } = world.cloud;
  // Of another guest: of one guest's disks none is touched while another one is being pulled.
  const guest = world.cloud.addGuest([RAW]);
  const other = disks.find((one) => one.guest === guest)?.volume as VolumeId;
  await world.clock.until(world.boot());
  const first = async () => {
    const { snapshot, status } = await cinder.createSnapshot(volume);
    if (status === 'available') await cinder.deleteSnapshot(snapshot);
  };
  void first();
  await world.clock.advance(3_000);
  const { made } = life;
  const began = world.clock.now();
  const taken = await world.clock.until(cinder.createSnapshot(other), 30_000);
  expect(taken.status, `call ${nth} hangs`).toBe('available');
  const gone = await world.clock.until(cinder.deleteSnapshot(taken.snapshot), 30_000);
  expect(gone.status, `call ${nth} hangs`).toBe('deleted');
  return { made, tookMs: world.clock.now() - began };
}

test('law 22: whatever call hangs for one volume, another one is served in its time', async () => {
  const { made, tookMs } = await tell(Number.POSITIVE_INFINITY);
  expect(made).toBeGreaterThan(20);
  for (let nth = 1; nth <= made; nth++) {
    const { tookMs: now } = await tell(nth);
    expect(now, `call ${nth} hangs`).toBe(tookMs);
  }
});
