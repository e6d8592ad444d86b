import { changedBy, type FileFormat, find, type Layer, layersOf } from '#domain/chain.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import type { FileName, Format, OperationId, VolumeId } from '#domain/ids.ts';
import { QCOW2 } from '#domain/ids.ts';
import { type CreatePlan, isNamedFor, planCreate } from '#domain/plan-create.ts';
import { type DeletePlan, planDelete } from '#domain/plan-delete.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { DiskView, Sight } from '#domain/sight.ts';
import type { AssistedCreate, AssistedDelete, Trouble } from '#ports/assisted-snapshots.ts';
import type { DiskOf, ListedDisk } from '#ports/hypervisor.ts';
import type {
  ChainReport,
  Changes,
  Diagnosis,
  Inspect,
  OperationReport,
  PlanReport,
  Progress,
} from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { type DiagnoseWorld, examine } from './diagnose.ts';

export interface InspectWorld extends DiagnoseWorld {
  readonly progress?: Inspect['progress'];
}

/** Answers people by asking the same witnesses that a request is decided on. Changes nothing. */
export class Inspector implements Inspect {
  readonly #world: InspectWorld;

  constructor(world: InspectWorld) {
    this.#world = world;
  }

  /** Works without Cinder: its word is then missing from the report. */
  async chain(ref: string): Promise<Result<ChainReport, Trouble>> {
    const place = await this.#place(ref);
    if (!place.ok) return place;
    return examine(this.#world, place.value.disk, place.value.attachment);
  }

  /** Every volume of every guest here, a few at a time: operations need libvirt too. */
  async diagnoses(): Promise<Result<readonly Diagnosis[], Trouble>> {
    const disks = await this.#world.hypervisor.disks();
    if (!disks.ok) return fault(disks.error);
    const found: Diagnosis[] = [];
    for (let at = 0; at < disks.value.length; at += AT_ONCE) {
      const some = disks.value.slice(at, at + AT_ONCE);
      const reports = await Promise.all(some.map((disk) => this.#diagnosis(disk)));
      found.push(...reports.filter((one) => one !== null));
    }
    return ok(found);
  }

  /** Null for a disk with a serial of something else than Cinder. */
  async #diagnosis({ volume, server, guest, target }: ListedDisk): Promise<Diagnosis | null> {
    const attachments = await this.#world.volumes.attachments(volume);
    if (attachments.ok && attachments.value === null) return null;
    const known = attachments.ok ? attachments.value : null;
    const attachment = known?.find((one) => one.server === server)?.id ?? null;
    const report = await examine(this.#world, { server, volume }, attachment);
    return { volume, server, guest, target, report };
  }

  /** What the live chain says, else what was recorded when each file was made. */
  async formats(volume: VolumeId): Promise<readonly FileFormat[]> {
    const known = await this.#world.journal.formats(volume);
    const guest = await this.#liveGuest(volume);
    if (guest === null) return [...known].map(([file, format]) => recorded(file, format));
    return layersOf(guest.chain).flatMap(({ file, format, on }): FileFormat[] => {
      if (format !== null) return [{ file, format, provenance: 'reported' }];
      const implied = on === null ? known.get(file) : QCOW2;
      return implied === undefined ? [] : [recorded(file, implied)];
    });
  }

  async planCreate(request: AssistedCreate): Promise<Result<PlanReport, Trouble>> {
    const seen = await this.#sight(request, [request.newFile]);
    if (!seen.ok) return seen;
    const { disk, sight } = seen.value;
    const plan = planCreate({ ...request, ...disk }, sight, this.#world.limits);
    if (!plan.ok) return this.#refuse(request.volume, plan.error);
    const { before, after, mend } = plan.value;
    return ok({
      action: `make ${request.newFile} the file that the guest writes to, on ${before.file}`,
      before,
      after,
      fileFormat: formatsAfter(after, [request.newFile]),
      by: placeOf(disk, plan.value),
      merge: null,
      mends: mend,
      mend: mend && `first write into ${request.newFile} that ${mend.backing} is ${mend.format}`,
    });
  }

  async planDelete(request: AssistedDelete): Promise<Result<PlanReport, Trouble>> {
    const named = request.fileToMerge === null ? [] : [request.fileToMerge];
    const seen = await this.#sight(request, named);
    if (!seen.ok) return seen;
    const { disk, sight } = seen.value;
    const plan = planDelete({ ...request, ...disk }, sight);
    if (!plan.ok) return this.#refuse(request.volume, plan.error);
    const { before, after, merge } = plan.value;
    const fileFormat = formatsAfter(after, changedBy(before, merge));
    const by = placeOf(disk, plan.value);
    const none = { mend: null, mends: null };
    return ok({ action: actionOf(plan.value), before, after, fileFormat, by, merge, ...none });
  }

  async operations(state: 'open' | 'ended' | 'all', limit: number): Promise<readonly Operation[]> {
    const { journal } = this.#world;
    if (state === 'all') return journal.operations({ limit });
    // They are few, wherever in the journal they are.
    if (state === 'open') return (await journal.unfinished()).toReversed().slice(0, limit);
    for (let size = Math.max(2 * limit, 100); ; size *= 2) {
      const newest = await journal.operations({ limit: size });
      const found = newest.filter(({ saga }) => saga.at === 'end');
      if (found.length >= limit || newest.length < size) return found.slice(0, limit);
    }
  }

  async operation(id: OperationId): Promise<OperationReport | null> {
    const { journal } = this.#world;
    const operation = await journal.operation(id);
    if (operation === null) return null;
    const [evidence, notices] = await Promise.all([
      journal.evidence(id),
      journal.notices({ operation: id }),
    ]);
    return { operation, evidence, notices };
  }

  async changes(after: number | null): Promise<Changes> {
    const { journal } = this.#world;
    if (after !== null) {
      const operations = await journal.changes(after, MOST_CHANGES);
      return { last: operations.at(-1)?.seq ?? after, operations };
    }
    // Whatever changes in between comes twice, and nothing is left out.
    const last = await journal.lastChange();
    const open = await journal.unfinished();
    return { last, operations: open.map((operation) => ({ seq: last, operation })) };
  }

  progress(volume: VolumeId): Progress | null {
    return this.#world.progress?.(volume) ?? null;
  }

  /** What a plan is decided on: as when Cinder asks, but for the snapshot's status. */
  async #sight(
    request: AssistedCreate | AssistedDelete,
    headers: readonly FileName[],
  ): Promise<Result<{ readonly disk: DiskOf; readonly sight: Sight }, Trouble>> {
    const snapshot = await this.#world.volumes.snapshot(request.snapshot);
    if (!snapshot.ok) return fault(snapshot.error);
    const { snapshot: id, volume } = request;
    if (snapshot.value === null) return refused({ kind: 'unknown-snapshot', snapshot: id });
    if (snapshot.value.volume !== volume) {
      return refused({ kind: 'other-volume', snapshot: id, volume: snapshot.value.volume });
    }
    if ('newFile' in request && !isNamedFor(request)) {
      return refused({ kind: 'other-name', snapshot: id, file: request.newFile });
    }
    const place = await this.#ofVolume(request.volume);
    if (!place.ok) return place;
    const { disk, attachment } = place.value;
    const newcomer = 'newFile' in request ? request.newFile : null;
    const sight = await this.#look(disk, headers, newcomer, attachment);
    return sight.ok ? ok({ disk, sight: sight.value }) : sight;
  }

  async #look(
    disk: DiskOf,
    headers: readonly FileName[],
    newcomer: FileName | null,
    attachment: string | null,
  ): Promise<Result<Sight, Trouble>> {
    const want = { disk, headers, newcomer, snapshot: null, attachment, late: () => false };
    const sight = await this.#world.look(this.#world, want);
    return sight.ok ? sight : fault(sight.error);
  }

  /** A job of our own is no stranger: a request would wait for it. */
  async #refuse(volume: VolumeId, refusal: Refusal): Promise<Result<never, Trouble>> {
    if (refusal.kind !== 'foreign-job') return refused(refusal);
    const open = await this.#world.journal.unfinished();
    const mine = open.find(({ saga }) => saga.request.volume === volume);
    if (mine === undefined) return refused(refusal);
    return refused({ kind: 'waits', operation: mine.id, what: mine.saga.kind });
  }

  async #place(ref: string): Promise<Result<Place, Trouble>> {
    const [, domain, target] = /^([^:]+):([^:]+)$/.exec(ref) ?? [];
    if (domain !== undefined && target !== undefined) return this.#ofDisk(domain, target);
    if (/^[A-Za-z0-9_-]{1,64}$/.test(ref)) return this.#ofVolume(ref as VolumeId);
    return badRequest(
      `'${ref}' is neither a volume id nor DOMAIN:DISK (say, instance-00000001:vda).`,
    );
  }

  async #ofDisk(domain: string, target: string): Promise<Result<Place, Trouble>> {
    const disks = await this.#world.hypervisor.disks();
    if (!disks.ok) return fault(disks.error);
    const uuid = domain.toLowerCase();
    const ofGuest = disks.value.filter(({ server, guest }) => server === uuid || guest === domain);
    const disk = ofGuest.find((it) => it.target === target);
    if (disk === undefined) {
      if (ofGuest.length === 0) {
        return badRequest(
          `There is no guest ${domain} on this host, or no volume of Cinder's is attached to it: ` +
            'see virsh list --all.',
        );
      }
      const has = ofGuest.map((it) => it.target).join(', ');
      return badRequest(`Guest ${domain} has no volume as ${target}: it has ${has}.`);
    }
    const attachments = await this.#world.volumes.attachments(disk.volume);
    const found = attachments.ok ? attachments.value : null;
    const attachment = found?.find(({ server }) => server === disk.server)?.id ?? null;
    return ok({ disk: { server: disk.server, volume: disk.volume }, attachment });
  }

  async #ofVolume(volume: VolumeId): Promise<Result<Place, Trouble>> {
    const attachments = await this.#world.volumes.attachments(volume);
    if (!attachments.ok) return this.#bySerial(volume, attachments.error);
    if (attachments.value === null) return refused({ kind: 'unknown-volume', volume });
    const [only, ...others] = attachments.value;
    if (only === undefined) return refused({ kind: 'not-attached', volume });
    const times = others.length + 1;
    if (times > 1) return refused({ kind: 'attached-twice', volume, times });
    return ok({ disk: { server: only.server, volume }, attachment: only.id });
  }

  /** Without Cinder, libvirt knows a volume by its disk's serial (nova/virt/libvirt/driver.py). */
  async #bySerial(volume: VolumeId, away: Fault): Promise<Result<Place, Trouble>> {
    const disks = await this.#world.hypervisor.disks();
    if (!disks.ok) return fault(disks.error);
    const [only, ...others] = disks.value.filter((disk) => disk.volume === volume);
    if (only === undefined) return fault(away);
    const times = others.length + 1;
    if (times > 1) return refused({ kind: 'attached-twice', volume, times });
    return ok({ disk: { server: only.server, volume }, attachment: null });
  }

  async #liveGuest(volume: VolumeId): Promise<DiskView | null> {
    const disks = await this.#world.hypervisor.disks();
    const disk = disks.ok ? disks.value.find((it) => it.volume === volume) : undefined;
    if (disk === undefined) return null;
    const guest = await this.#world.hypervisor.look({ server: disk.server, volume });
    return guest.ok && guest.value.kind === 'disk' ? guest.value : null;
  }
}

const MOST_CHANGES = 500;

/** How many volumes are looked at together; libvirt has four lanes. */
const AT_ONCE = 4;

/** Where a volume is in use; the attachment is null when Cinder does not say. */
interface Place {
  readonly disk: DiskOf;
  readonly attachment: string | null;
}

function formatsAfter(after: Layer, files: readonly FileName[]): readonly FileFormat[] {
  return files.flatMap((file) => {
    const layer = find(after, file);
    if (layer === null) return [];
    return [{ file, format: layer.format, provenance: layer.provenance }];
  });
}

const placeOf = (
  { server }: DiskOf,
  { target, directory, process, key, size }: CreatePlan | DeletePlan,
): PlanReport['by'] => ({
  ...{ server, target, directory, size },
  running: process !== null,
  encrypted: key !== null,
});

function actionOf({ merge, before }: DeletePlan): string {
  if (merge.kind === 'commit') return `commit ${merge.top} into ${merge.into}`;
  const down =
    merge.onto === null ? 'everything below it' : `what lies between it and ${merge.onto}`;
  return `pull ${down} into ${before.file}`;
}

const recorded = (file: FileName, format: Format): FileFormat => ({
  file,
  format,
  provenance: 'assumed',
});
const refused = (refusal: Refusal) => err<Trouble>({ kind: 'refused', refusal });
const fault = (it: Fault) => err<Trouble>({ kind: 'fault', fault: it });
const badRequest = (problem: string) => refused({ kind: 'bad-request', problem });
