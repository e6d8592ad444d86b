import { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';

/** Hears when block jobs end, as the service does: on a connection of its own. */
export class Ears implements AsyncDisposable {
  readonly #hypervisor: LibvirtHypervisor;
  readonly #ended = new Map<string, number>();

  static async open(): Promise<Ears> {
    const none = { bandwidthMib: 0, agentTimeoutMs: 1000, volumeDirectories: [] };
    return new Ears(await LibvirtHypervisor.connect({ connectionUri: 'qemu:///system', ...none }));
  }

  private constructor(hypervisor: LibvirtHypervisor) {
    this.#hypervisor = hypervisor;
    hypervisor.listen((happening) => {
      if (happening.kind !== 'job' || happening.how !== 'completed') return;
      this.#ended.set(`${happening.server} ${happening.target}`, performance.now());
    });
  }

  /** When the last job on this disk was heard to be completed; null when none was since `since`. */
  ended(server: string, target: string, since: number): number | null {
    const at = this.#ended.get(`${server} ${target}`);
    return at === undefined || at < since ? null : at;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#hypervisor[Symbol.asyncDispose]();
  }
}
