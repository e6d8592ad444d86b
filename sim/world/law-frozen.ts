import type { Fault } from '#domain/failure.ts';
import type { Result } from '#domain/result.ts';
import type { SeenGuest, SnapshotOrder } from '#ports/hypervisor.ts';
import type { Entry } from '#ports/journal.ts';
import type { SimGuest } from '../guest.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** The agent's patience, and the longest that a world keeps each of two calls from its answer. */
const LONGEST_MS = 30_000 + 2 * 150_000;

/**
 * Law 17, of guests: a frozen one does not work. None is at rest, and in no history is one frozen
 * for long while the program runs, libvirt can be reached, and the agent hears.
 */
export class FrozenLaws implements Watcher {
  readonly #world: World;
  /** By guest: until when nobody could have thawed it. */
  readonly #hindered = new Map<SimGuest, number>();
  /** By guest: since when it is frozen, and whether no create had then asked for it. */
  readonly #freezes = new Map<SimGuest, { readonly since: number; readonly late: boolean }>();

  constructor(world: World) {
    this.#world = world;
  }

  reached({ port, method, args }: SeenCall, answer: unknown): void {
    if (port === 'libvirt' && method === 'snapshot') {
      const { quiesce = false } = args[0] as SnapshotOrder;
      if (quiesce && !(answer as Result<null, Fault>).ok) this.#world.saw('a freeze fails');
    }
    if (port !== 'journal' || method !== 'commit') return;
    const { saga, evidence } = args[1] as Entry;
    for (const { kind } of evidence) {
      if (kind === 'quiesced') this.#world.saw('a guest is quiesced');
    }
    const dropped = saga.at === 'switching' && saga.freeze?.at === 'dropped';
    if (dropped) this.#world.saw('a create goes on without a freeze');
  }

  reaching({ port, method, args }: SeenCall): void {
    if (port !== 'libvirt' || method !== 'thaw') return;
    const { server } = args[0] as SeenGuest;
    const guest = this.#guests.find((one) => one.server === server);
    if (guest?.agent?.frozen) this.#world.saw('a guest that libvirt left frozen is thawed');
  }

  moment(): void {
    const { clock, program, libvirtAway } = this.#world;
    for (const guest of this.#guests) {
      const { agent, monitor } = guest;
      if (agent === null || agent.frozenSince === null) continue;
      if (this.#isLate(guest, agent.frozenSince)) continue;
      const now = clock.now();
      const deaf = program === null || libvirtAway || monitor.hangs || agent.hangs;
      if (deaf) this.#hindered.set(guest, now);
      const since = Math.max(agent.frozenSince, this.#hindered.get(guest) ?? 0);
      if (now - since <= LONGEST_MS) continue;
      this.#hindered.set(guest, now);
      this.#world.break(17, `${guest.name} has been frozen for ${now - since} ms`, null);
    }
  }

  rest(): void {
    for (const guest of this.#guests) {
      const { agent, name } = guest;
      if (agent?.frozenSince == null || this.#isLate(guest, agent.frozenSince)) continue;
      this.#world.break(17, `${name} is left frozen`, null);
    }
  }

  /**
   * An attempt that never answered can come through, and freeze, when its create is long over, or
   * the next QEMU.
   */
  #isLate(guest: SimGuest, since: number): boolean {
    const known = this.#freezes.get(guest);
    if (known?.since === since) return known.late;
    const late = !this.#world.journal.all.some(
      ({ saga }) =>
        saga.at === 'switching' &&
        saga.request.server === guest.server &&
        saga.plan.process === guest.process &&
        ['asked', 'thawing'].includes(saga.freeze?.at ?? ''),
    );
    this.#freezes.set(guest, { since, late });
    return late;
  }

  get #guests(): readonly SimGuest[] {
    return this.#world.cloud.hypervisor.guests;
  }
}
