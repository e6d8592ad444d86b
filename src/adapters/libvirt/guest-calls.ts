import { err, ok } from '#domain/result.ts';
import type { Libvirt, Pointer } from './ffi.ts';
import type { Answer, Lane } from './lane.ts';

/** As virDomainGetBlockJobInfo sees it; bandwidth in bytes per second, 0 is no limit. */
export interface JobInfo {
  readonly type: number;
  readonly cur: number;
  readonly end: number;
  readonly bandwidth: number;
}

/** virDomainState and the reason number that goes with it. */
export interface GuestState {
  readonly state: number;
  readonly reason: number;
}

const XML_SECURE = 1;
const XML_INACTIVE = 2;
const INFO_BANDWIDTH_BYTES = 1;
const RESIZE_BYTES = 1;
const DUMP_MEMORY_ONLY = 16;

/** The calls that are about one guest, on one lane, in one turn. */
export class GuestCalls {
  readonly #lane: Lane;
  readonly #uuid: string;
  readonly #timeoutMs: number | undefined;

  /** `timeoutMs` for what changes something, where it needs another time than the lane gives. */
  constructor(lane: Lane, uuid: string, timeoutMs?: number) {
    this.#lane = lane;
    this.#uuid = uuid;
    this.#timeoutMs = timeoutMs;
  }

  withTimeout(timeoutMs: number): GuestCalls {
    return new GuestCalls(this.#lane, this.#uuid, timeoutMs);
  }

  xml(inactive: boolean): Promise<Answer<string>> {
    const flags = inactive ? XML_INACTIVE : 0;
    return this.#read('virDomainGetXMLDesc', (lib, domain) => lib.xmlDesc(domain, flags));
  }

  /** What the guest will be at its next start, with what only a redefinition may see. */
  definition(): Promise<Answer<string>> {
    const flags = XML_INACTIVE | XML_SECURE;
    return this.#read('virDomainGetXMLDesc', (lib, domain) => lib.xmlDesc(domain, flags));
  }

  define(xml: string): Promise<Answer<null>> {
    return this.#change('virDomainDefineXMLFlags', undefined, async (lib, domain) => {
      const defined = await lib.defineXml(lib.connectionOf(domain), xml, 0);
      if (defined === null) return -1;
      lib.freeDomain(defined);
      return 0;
    });
  }

  state(): Promise<Answer<GuestState>> {
    return this.#read('virDomainGetState', async (lib, domain) => {
      const state = [0];
      const reason = [0];
      const done = await lib.state(domain, state, reason, 0);
      return done < 0 ? null : { state: state[0] ?? 0, reason: reason[0] ?? 0 };
    });
  }

  /** A null value is no job, and not that the last one succeeded: compare the chain. */
  jobInfo(target: string): Promise<Answer<JobInfo | null>> {
    return this.#read('virDomainGetBlockJobInfo', async (lib, domain) => {
      const info = {};
      const found = await lib.blockJobInfo(domain, target, info, INFO_BANDWIDTH_BYTES);
      return found < 0 ? null : { value: found === 0 ? null : numbers(info) };
    }).then((answer) => (answer.ok ? { ok: true, value: answer.value.value } : answer));
  }

  /** Whether it was saved rather than shut down: it starts with the XML that was saved along. */
  isSaved(): Promise<Answer<boolean>> {
    return this.#read('virDomainHasManagedSaveImage', async (lib, domain) => {
      const has = await lib.hasManagedSave(domain, 0);
      return has < 0 ? null : has === 1;
    });
  }

  /** The size the guest sees, in bytes. */
  blockCapacity(target: string): Promise<Answer<number>> {
    return this.#read('virDomainGetBlockInfo', async (lib, domain) => {
      const info: { capacity?: number | bigint } = {};
      const done = await lib.blockInfo(domain, target, info, 0);
      return done < 0 ? null : Number(info.capacity);
    });
  }

  /** The same as QEMU says it, of a guest that runs. */
  async capacitySeen(target: string): Promise<Answer<number>> {
    const stats = await this.#read('virDomainListGetStats', (lib, domain) =>
      lib.blockStats(domain),
    );
    if (!stats.ok) return stats;
    const [field = ''] = [...stats.value].find(([, value]) => value === target) ?? [];
    const bytes = stats.value.get(field.replace(/\.name$/, '.capacity'));
    if (typeof bytes === 'number') return ok(bytes);
    return err({ kind: 'unreachable', message: `libvirt has no statistics of ${target}` });
  }

  /** Quiescing may take as long as the agent timeout, twice: `timeoutMs` bounds this call. */
  snapshotCreate(xml: string, flags: number, timeoutMs?: number): Promise<Answer<null>> {
    return this.#change('virDomainSnapshotCreateXML', timeoutMs, async (lib, domain) => {
      const snapshot = await lib.snapshotCreate(domain, xml, flags);
      if (snapshot === null) return -1;
      lib.freeSnapshot(snapshot);
      return 0;
    });
  }

  blockCommit(
    target: string,
    base: string | null,
    top: string | null,
    bandwidth: number,
    flags: number,
  ): Promise<Answer<null>> {
    return this.#change('virDomainBlockCommit', undefined, (lib, domain) =>
      lib.blockCommit(domain, target, base, top, bandwidth, flags),
    );
  }

  blockRebase(
    target: string,
    base: string | null,
    bandwidth: number,
    flags: number,
  ): Promise<Answer<null>> {
    return this.#change('virDomainBlockRebase', undefined, (lib, domain) =>
      lib.blockRebase(domain, target, base, bandwidth, flags),
    );
  }

  blockJobAbort(target: string, flags: number): Promise<Answer<null>> {
    return this.#change('virDomainBlockJobAbort', undefined, (lib, domain) =>
      lib.blockJobAbort(domain, target, flags),
    );
  }

  /** Never with a size read in another turn: a stale one shrinks the guest's disk. */
  blockResize(target: string, bytes: number): Promise<Answer<null>> {
    return this.#change('virDomainBlockResize', undefined, (lib, domain) =>
      lib.blockResize(domain, target, bytes, RESIZE_BYTES),
    );
  }

  suspend(): Promise<Answer<null>> {
    return this.#change('virDomainSuspend', undefined, (lib, domain) => lib.suspend(domain));
  }

  resume(): Promise<Answer<null>> {
    return this.#change('virDomainResume', undefined, (lib, domain) => lib.resume(domain));
  }

  /** A core dump of its memory into the file `to`. */
  coreDump(to: string): Promise<Answer<null>> {
    return this.#change('virDomainCoreDump', undefined, (lib, domain) =>
      lib.coreDump(domain, to, DUMP_MEMORY_ONLY),
    );
  }

  /** Before a quiescing snapshot: without it a freeze blocks for ever (agentTimeout=BLOCK). */
  agentTimeout(seconds: number): Promise<Answer<null>> {
    return this.#change('virDomainAgentSetResponseTimeout', undefined, (lib, domain) =>
      lib.agentSetResponseTimeout(domain, seconds, 0),
    );
  }

  fsThaw(timeoutMs: number): Promise<Answer<null>> {
    return this.#change('virDomainFSThaw', timeoutMs, (lib, domain) =>
      lib.fsThaw(domain, null, 0, 0),
    );
  }

  #read<T>(
    name: string,
    use: (lib: Libvirt, domain: Pointer) => Promise<T | null>,
  ): Promise<Answer<T>> {
    return this.#lane.call({ name, changes: false, uuid: this.#uuid }, use);
  }

  async #change(
    name: string,
    timeoutMs: number | undefined,
    use: (lib: Libvirt, domain: Pointer) => Promise<number>,
  ): Promise<Answer<null>> {
    const given = timeoutMs ?? this.#timeoutMs;
    const call = { name, changes: true, uuid: this.#uuid, ...(given && { timeoutMs: given }) };
    const done = await this.#lane.call(call, async (lib, domain) =>
      (await use(lib, domain)) < 0 ? null : true,
    );
    return done.ok ? { ok: true, value: null } : done;
  }
}

const numbers = (info: Partial<Record<keyof JobInfo, number | bigint>>): JobInfo => ({
  type: Number(info.type),
  cur: Number(info.cur),
  end: Number(info.end),
  bandwidth: Number(info.bandwidth),
});
