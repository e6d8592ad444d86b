import { parseDomain, type XmlDisk } from '#adapters/libvirt/domain-xml.ts';
import type { CallFault } from '#adapters/libvirt/lane.ts';
import { Lanes } from '#adapters/libvirt/lanes.ts';
import { snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import type { FileName, ServerId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import { type Order, type Side, TARGET } from './cycle.ts';
import type { Taken, Trace } from './trace.ts';

// As in src/adapters/libvirt/hypervisor.ts.
const SNAPSHOT_FLAGS = 4 | 16 | 32 | 128;
const COMMIT_RELATIVE = 8;
const REBASE_RELATIVE = 16;

type Call = () => Promise<Result<null, CallFault>>;

/**
 * The libvirt calls and nothing else, through the same library on a lane of its own: whoever
 * makes them knows the disk, its size and its chain, checks nothing, and trusts the event.
 */
export class Bare implements Side, AsyncDisposable {
  readonly name = 'bare';
  readonly #server: ServerId;
  readonly #hypervisor: Hypervisor;
  readonly #trace: Trace;
  readonly #lanes = new Lanes('qemu:///system', { size: 1 });
  #call: Call = () => Promise.reject(new Error('not prepared'));
  #barrier: Call | null = null;

  /** A process can hear libvirt's events once: they come by way of our own hypervisor. */
  constructor(server: ServerId, hypervisor: Hypervisor, trace: Trace) {
    this.#server = server;
    this.#hypervisor = hypervisor;
    this.#trace = trace;
  }

  async prepare(order: Order): Promise<void> {
    const lanes = this.#lanes;
    const server = this.#server;
    const domain = must(parseDomain(must(await lanes.domainXml(server, false))));
    const disk = domain.disks.find(({ target }) => target === TARGET)!;
    const size = must(await lanes.blockCapacity(server, TARGET));
    this.#barrier = null;
    if (order.kind === 'create') {
      const xml = snapshotXml(domain, TARGET, order.path);
      this.#call = () => lanes.snapshotCreate(server, xml, SNAPSHOT_FLAGS);
    } else if (order.merge.kind === 'commit') {
      const [top, base] = [order.merge.top, order.merge.into].map((it) => indexed(disk, it)!);
      this.#call = () => lanes.blockCommit(server, TARGET, base!, top!, 0, COMMIT_RELATIVE);
    } else {
      const base = order.merge.onto === null ? null : indexed(disk, order.merge.onto);
      const flags = base === null ? 0 : REBASE_RELATIVE;
      this.#call = () => lanes.blockRebase(server, TARGET, base, 0, flags);
      this.#barrier = () => lanes.blockResize(server, TARGET, size);
    }
  }

  async perform(order: Order): Promise<Taken> {
    const trace = this.#trace;
    const ended = Promise.withResolvers<void>();
    const stop = this.#hypervisor.listen((happening) => {
      if (happening.kind !== 'job' || happening.server !== this.#server) return;
      if (happening.how === 'completed') ended.resolve();
      else if (happening.how !== 'ready') ended.reject(new Error(`the job ${happening.how}`));
    });
    const barrier = this.#barrier;
    trace.begin();
    must(await trace.during('call', this.#call));
    if (order.kind === 'delete') await trace.during('event', () => ended.promise);
    if (barrier !== null) must(await trace.during('barrier', barrier));
    const taken = trace.end(performance.now());
    stop();
    return taken;
  }

  async settle(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lanes[Symbol.asyncDispose]();
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
