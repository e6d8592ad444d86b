import type { Fault } from '#domain/failure.ts';
import type { FileName, ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView } from '#domain/sight.ts';
import type { DiskOf, LookOrder, SeenDisk } from '#ports/hypervisor.ts';
import { Recent } from '../system/recent.ts';
import { diskOf, hasChain, namesOf } from './disk-view.ts';
import { parseDomain, type XmlDisk, type XmlDomain } from './domain-xml.ts';
import { changed, faultOf, isGone, unreadable } from './faults.ts';
import type { GuestCalls } from './guest-calls.ts';
import { processOf } from './process.ts';

/** A guest and one of its disks, as the XML has them now. */
export interface Found extends FoundGuest {
  readonly disk: XmlDisk;
}

export interface FoundGuest {
  readonly domain: XmlDomain;
  /** See `processOf`; null of a guest that is shut off. */
  readonly process: string | null;
}

export type Absent = Extract<GuestView, { kind: 'absent' }>;

/** In characters of XML: some 500 guests with eight layers, and never more than 8 MB. */
const MOST_XML = 4_000_000;

/** Finds a guest's disk in libvirt's XML, which is asked for each time. */
export class Finder {
  readonly #uri: string;
  /** The last XML of each guest, and what it says: the same text need not be read again. */
  readonly #read = new Recent<{ readonly xml: string; readonly domain: XmlDomain }>(
    MOST_XML,
    ({ xml }) => xml.length,
  );

  constructor(uri: string) {
    this.#uri = uri;
  }

  async domain(calls: GuestCalls, server: ServerId): Promise<Result<FoundGuest | Absent, Fault>> {
    const xml = await calls.xml(false);
    if (!xml.ok && isGone(xml.error)) {
      return ok({ kind: 'absent', why: { kind: 'guest-not-found', server } });
    }
    if (!xml.ok) return err(faultOf(xml.error));
    const domain = this.#parse(server, xml.value);
    if (!domain.ok) return err(unreadable(domain.error));
    const { name, id } = domain.value;
    const process = id === null ? null : processOf(this.#uri, name, id);
    return ok({ domain: domain.value, process });
  }

  async disk(
    calls: GuestCalls,
    { server, volume }: DiskOf,
  ): Promise<Result<Found | Absent, Fault>> {
    const found = await this.domain(calls, server);
    if (!found.ok || 'kind' in found.value) return found as Result<Absent, Fault>;
    const disk = diskOf(found.value.domain, volume);
    return ok('kind' in disk ? disk : { ...found.value, disk });
  }

  /** The disk, where the XML alone says what was wanted; null where the rest has to be seen. */
  async settled(calls: GuestCalls, order: LookOrder): Promise<Result<Found | null, Fault>> {
    const { settled } = order;
    if (settled === undefined) return ok(null);
    const found = await this.disk(calls, order);
    // Whoever does not answer is not asked for more.
    if (!found.ok) return found;
    if ('kind' in found.value) return ok(null);
    const { disk, process } = found.value;
    const over = process === settled.process && disk.mirror === null;
    return ok(over && hasChain(disk, settled.chain) ? found.value : null);
  }

  /** The disk, if it is in the QEMU process that was seen, and under the same name. */
  async same(
    calls: GuestCalls,
    order: SeenDisk & { readonly chain?: readonly FileName[] },
  ): Promise<Result<Found, Fault>> {
    const found = await this.disk(calls, order);
    if (!found.ok) return found;
    if ('kind' in found.value) return err(changed(order, 'the disk is gone'));
    if (found.value.process !== order.process) return err(changed(order, 'it was restarted'));
    if (found.value.disk.target !== order.target) {
      return err(changed(order, `the disk is ${found.value.disk.target}`));
    }
    if (order.chain !== undefined && !hasChain(found.value.disk, order.chain)) {
      return err(changed(order, `the chain is ${namesOf(found.value.disk).join(' on ')}`));
    }
    return ok(found.value);
  }

  #parse(server: ServerId, xml: string): ReturnType<typeof parseDomain> {
    const last = this.#read.get(server);
    if (last?.xml === xml) return ok(last.domain);
    const domain = parseDomain(xml);
    if (domain.ok) this.#read.set(server, { xml, domain: domain.value });
    return domain;
  }
}
