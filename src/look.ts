import { filesOf } from '#domain/chain.ts';
import { DEEPEST, nextToRead } from '#domain/cold-chain.ts';
import type { Fault } from '#domain/failure.ts';
import { type FileName, QCOW2, type SnapshotId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import {
  type CinderView,
  type DiskView,
  type GuestView,
  type HeaderView,
  headersToRead,
  type Sight,
} from '#domain/sight.ts';
import type { DiskOf, Hypervisor, LookOrder } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import type { Journal } from '#ports/journal.ts';
import type { Volumes } from '#ports/volumes.ts';

/** Everything that can be asked about a volume. */
export interface LookWorld {
  readonly hypervisor: Hypervisor;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly journal: Journal;
}

export interface Want {
  readonly disk: LookOrder;
  /** See `headersToRead`. */
  readonly headers: readonly FileName[];
  /**
   * A file outside the chain that may be read: an overlay just made for it. Any other, but one that
   * is recorded as qcow2, could be a raw base that was merged away, whose bytes are the guest's.
   */
  readonly newcomer: FileName | null;
  /** Null when Cinder need not be asked. */
  readonly snapshot: SnapshotId | null;
  /** The attachment whose active file is wanted too, or null. */
  readonly attachment: string | null;
  /** What the hypervisor has shown of it a moment ago, to be spared the question. */
  readonly fresh?: GuestView | null;
  /** Asked once everything else is seen, which can take its time. */
  readonly late: () => boolean;
}

/** One look at a volume: the live chain first, then the headers that it allows us to read. */
export async function look(world: LookWorld, want: Want): Promise<Result<Sight, Fault>> {
  const { fresh = null } = want;
  const [guest, cinder, known] = await Promise.all([
    fresh === null ? world.hypervisor.look(want.disk) : ok(fresh),
    askCinder(world.volumes, want),
    world.journal.formats(want.disk.volume),
  ]);
  if (!guest.ok) return guest;
  if (!cinder.ok) return cinder;
  const headers = await readHeaders(world.images, guest.value, want, known);
  if (!headers.ok) return headers;
  return ok({
    guest: guest.value,
    headers: headers.value,
    cinder: cinder.value,
    known,
    late: want.late(),
  });
}

/** A server's attachment of a volume, or null when Cinder knows of none. */
export async function attachmentOn(
  volumes: Volumes,
  { volume, server }: DiskOf,
): Promise<Result<string | null, Fault>> {
  const known = await volumes.attachments(volume);
  return known.ok ? ok(known.value?.find((one) => one.server === server)?.id ?? null) : known;
}

async function askCinder(volumes: Volumes, want: Want): Promise<Result<CinderView | null, Fault>> {
  if (want.snapshot === null && want.attachment === null) return ok(null);
  const [snapshot, active] = await Promise.all([
    want.snapshot === null ? ok(null) : volumes.snapshot(want.snapshot),
    want.attachment === null ? ok(null) : volumes.activeFile(want.attachment),
  ]);
  if (!snapshot.ok) return snapshot;
  if (!active.ok) return active;
  return ok({ snapshot: snapshot.value, active: active.value });
}

async function readHeaders(
  images: Images,
  guest: GuestView,
  want: Want,
  known: Sight['known'],
): Promise<Result<Readonly<Record<string, HeaderView>>, Fault>> {
  if (guest.kind === 'absent' || guest.source.kind === 'other') return ok({});
  // A name of another folder, read in this one, could be any file: a raw one too.
  if (guest.stray !== null) return ok({});
  const { directory } = guest.source;
  const members = new Set(filesOf(guest.chain));
  const recorded = want.newcomer === null ? undefined : known.get(want.newcomer);
  const newcomer = recorded === undefined || recorded === QCOW2 ? want.newcomer : null;
  const files = headersToRead(guest.chain, want.headers, known).filter(
    (file) => members.has(file) || file === newcomer || known.get(file) === QCOW2,
  );
  const pages = await Promise.all(files.map((file) => images.header(directory, file)));
  const headers: Record<string, HeaderView> = Object.create(null);
  for (const [at, page] of pages.entries()) {
    if (!page.ok) return page;
    headers[files[at] ?? ''] = page.value;
  }
  // The XML of a guest that is shut off need not name the chain: its headers do.
  if (guest.process !== null) return ok(headers);
  return followed(images, guest, directory, known, headers);
}

/** The headers from the active file down, each as far as the one above says that it may be read. */
async function followed(
  images: Images,
  { chain }: DiskView,
  directory: string,
  known: Sight['known'],
  read: Readonly<Record<string, HeaderView>>,
): Promise<Result<Readonly<Record<string, HeaderView>>, Fault>> {
  const headers = Object.assign(Object.create(null), read);
  const top = (chain.format ?? known.get(chain.file)) === QCOW2 ? chain.file : null;
  const met = new Set<FileName>();
  for (let at = top; at !== null && !met.has(at) && met.size < DEEPEST; ) {
    met.add(at);
    const page = headers[at] === undefined ? await images.header(directory, at) : ok(headers[at]);
    if (!page.ok) return page;
    headers[at] = page.value;
    at = nextToRead(page.value, chain, known);
  }
  return ok(headers);
}
