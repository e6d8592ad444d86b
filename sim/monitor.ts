import type { Clock } from '#ports/clock.ts';
import { type No, REFUSALS } from './refusals.ts';

/** How long a call waits for a guest that another call is busy with (measured). */
const LOCK_TIMEOUT_MS = 30_000;

/**
 * The way to a guest's QEMU. While QEMU hangs (stopped, or on storage that does not answer) the
 * first call stays in it for as long as that takes and holds libvirt's lock of the guest; whoever
 * comes later waits for the lock, and not for ever (measured on libvirt 9.0 with a SIGSTOP).
 */
export class Monitor {
  #hang: PromiseWithResolvers<'goes on' | 'dies'> | null = null;
  #holder: string | null = null;

  get hangs(): boolean {
    return this.#hang !== null;
  }

  hang(): void {
    this.#hang ??= Promise.withResolvers();
  }

  /** QEMU answers again, or is gone. */
  end(how: 'goes on' | 'dies'): void {
    this.#hang?.resolve(how);
    this.#hang = null;
  }

  /** Null once `call` is at QEMU, which may have gone meanwhile; or why it never gets there. */
  async reach(call: string, clock: Clock): Promise<No | null> {
    const hang = this.#hang;
    if (hang === null) return null;
    if (this.#holder === null) {
      this.#holder = call;
      const how = await hang.promise;
      this.#holder = null;
      return how === 'dies' ? REFUSALS['QEMU dies in the call']() : null;
    }
    const holder = this.#holder;
    const free = new AbortController();
    const late = clock.sleep(LOCK_TIMEOUT_MS, free.signal).then(() => !free.signal.aborted);
    void hang.promise.then(() => free.abort());
    return (await late) ? REFUSALS['guest locked']('', holder) : null;
  }
}
