import type { Clock } from '#ports/clock.ts';
import { type No, REFUSALS } from './refusals.ts';

/** How an agent takes a command: `hangMs` is how long it then answers nobody. */
export type Manner = 'obeys' | 'refuses' | { readonly hangMs: number };

/** libvirt's patience with the handshake before each command (measured). */
const HANDSHAKE_MS = 5_000;

/**
 * A guest's agent as libvirt has it, which does one thing at a time: while it hangs in a command
 * it does not answer the handshake of the next, and what it was told it does in the end (measured,
 * test/live/quiesce.test.ts).
 */
export class SimAgent {
  state: 'connected' | 'disconnected' = 'connected';
  /** How it takes the next one. */
  freezes: () => Manner = () => 'obeys';
  thaws: () => Manner = () => 'obeys';
  /** Whether libvirtd itself dies while the guest is frozen. */
  daemonDies: () => 'before the switch' | 'after the switch' | null = () => null;
  /** Since when, by the clock. */
  frozenSince: number | null = null;
  readonly timeoutMs: number;
  readonly #clock: Clock;
  #hanging: Promise<void> | null = null;

  /** `timeoutMs` is what libvirt was told of the agent's patience. */
  constructor(clock: Clock, timeoutMs = 30_000) {
    this.#clock = clock;
    this.timeoutMs = timeoutMs;
  }

  get hangs(): boolean {
    return this.#hanging !== null;
  }

  get frozen(): boolean {
    return this.frozenSince !== null;
  }

  /** Null when it was done in time. */
  command(what: 'freeze' | 'thaw'): No | null | Promise<No | null> {
    if (this.state === 'disconnected') return REFUSALS['agent not connected']();
    if (this.#hanging !== null) return this.#wait(HANDSHAKE_MS, () => this.command(what));
    const manner = what === 'freeze' ? this.freezes() : this.thaws();
    if (manner === 'refuses') return REFUSALS['agent refuses']('', what);
    if (manner === 'obeys') {
      this.#do(what);
      return null;
    }
    const hanging = this.#clock.sleep(manner.hangMs).then(() => {
      // A guest that was ended meanwhile has another agent.
      if (this.#hanging !== hanging) return;
      this.#hanging = null;
      this.#do(what);
    });
    this.#hanging = hanging;
    return this.#wait(this.timeoutMs, () => null);
  }

  /** A handshake that nobody carries to it. */
  async unheard(): Promise<No> {
    await this.#clock.sleep(Math.min(HANDSHAKE_MS, this.timeoutMs));
    return REFUSALS['agent does not answer']();
  }

  /** The guest's QEMU is gone, and with it whatever was frozen. */
  end(): void {
    this.#hanging = null;
    this.frozenSince = null;
  }

  #do(what: 'freeze' | 'thaw'): void {
    this.frozenSince = what === 'thaw' ? null : (this.frozenSince ?? this.#clock.now());
  }

  /** For the agent to come back, but not for ever. */
  async #wait(ms: number, then: () => ReturnType<SimAgent['command']>): Promise<No | null> {
    const enough = new AbortController();
    const late = this.#clock.sleep(Math.min(ms, this.timeoutMs), enough.signal).then(() => 'late');
    const came = await Promise.race([this.#hanging?.then(() => 'came'), late]);
    enough.abort();
    return came === 'late' ? REFUSALS['agent does not answer']() : then();
  }
}
