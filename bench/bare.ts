import { parseDomain, type XmlDisk } from '#adapters/libvirt/domain-xml.ts';
import type { CallFault } from '#adapters/libvirt/lane.ts';
import { Lanes } from '#adapters/libvirt/lanes.ts';
import { snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import type { FileName, ServerId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import { type Order, type Side, TARGET } from './cycle.ts';
import { type Taken, Trace } from './trace.ts';

// As in src/adapters/libvirt/hypervisor.ts.
const SNAPSHOT_FLAGS = 4 | 16 | 32 | 128;
const COMMIT_RELATIVE = 8;
const REBASE_RELATIVE = 16;

type Call = () => Promise<Result<null, CallFault>>;

/**
 * The libvirt calls and nothing else, through the same library on lanes of its own: whoever
 * makes them knows the disk, its size and its chain, checks nothing, and trusts the event.
 */
export class Bare implements Side, AsyncDisposable {
  readonly name = 'bare';
  readonly #hypervisor: Hypervisor;
  readonly #lanes = new Lanes('qemu:///system');

  /** A process can hear libvirt's events once: they come by way of our own hypervisor. */
  constructor(hypervisor: Hypervisor) {
    this.#hypervisor = hypervisor;
  }

  async prepare(order: Order): Promise<() => Promise<Taken>> {
    const { server } = order.volume;
    const lanes = this.#lanes;
    const domain = must(parseDomain(must(await lanes.domainXml(server, false))));
    const disk = domain.disks.find(({ target }) => target === TARGET)!;
    if (order.kind === 'create') {
      const xml = snapshotXml(domain, TARGET, order.path);
      return () => this.#perform(() => lanes.snapshotCreate(server, xml, SNAPSHOT_FLAGS));
    }
    const { merge } = order;
    const ended = () => this.#ended(server);
    if (merge.kind === 'commit') {
      const [top, base] = [merge.top, merge.into].map((it) => indexed(disk, it));
      const call = () => lanes.blockCommit(server, TARGET, base!, top!, 0, COMMIT_RELATIVE);
      return () => this.#perform(call, ended());
    }
    const base = merge.onto === null ? null : indexed(disk, merge.onto);
    const flags = base === null ? 0 : REBASE_RELATIVE;
    const size = must(await lanes.blockCapacity(server, TARGET));
    const call = () => lanes.blockRebase(server, TARGET, base, 0, flags);
    const barrier = () => lanes.blockResize(server, TARGET, size);
    return () => this.#perform(call, ended(), barrier);
  }

  async settle(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lanes[Symbol.asyncDispose]();
  }

  async #perform(call: Call, ended?: Promise<void>, barrier?: Call): Promise<Taken> {
    const trace = new Trace();
    trace.begin();
    must(await trace.during('libvirt', call));
    if (ended !== undefined) await trace.during('event', () => ended);
    if (barrier !== undefined) must(await trace.during('barrier', barrier));
    return trace.end(performance.now());
  }

  /** Resolves when a block job of this guest has completed, from now on. */
  #ended(server: ServerId): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stop = this.#hypervisor.listen((happening) => {
      if (happening.kind !== 'job' || happening.server !== server) return;
      if (happening.how === 'completed') resolve();
      else if (happening.how !== 'ready') reject(new Error(`the job ${happening.how}`));
    });
    return promise.finally(stop);
  }
}

function indexed(disk: XmlDisk, file: FileName): string {
  const is = ({ source }: XmlDisk['layers'][number]) =>
    source.kind === 'file' && source.path.endsWith(`/${file}`);
  return `${TARGET}[${disk.layers.find(is)?.index}]`;
}

function must<T>(result: Result<T, unknown>): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}
