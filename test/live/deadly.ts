/** QEMU dies where what a merge has left in its memory would be flushed. */
import { TOKEN, wrapped } from '#app/composition.ts';
import { err } from '#domain/result.ts';
import { instead } from './instead.ts';
import type { Guest } from './lab/guest.ts';
import { waitFor } from './lab/processes.ts';

/** `then`: what is waited for between its death and the answer. */
export class DeadlyFlush {
  #kill: () => Promise<void> = async () => {};
  readonly module;

  constructor(then: () => Promise<void> = async () => {}) {
    this.module = wrapped(TOKEN.hypervisor, (made) =>
      instead(made, {
        flush: async () => {
          await this.#kill();
          await then();
          return err({ kind: 'unknown', who: 'libvirt', detail: 'QEMU died' });
        },
      }),
    );
  }

  /** Of this guest, in the QEMU that it has now. */
  async of(guest: Guest): Promise<void> {
    const qemu = await guest.pid();
    this.#kill = async () => {
      process.kill(qemu, 'SIGKILL');
      await waitFor('the guest to be off', async () => (await guest.state()) === 'shut off');
    };
  }
}
