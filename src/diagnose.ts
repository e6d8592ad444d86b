import { layersOf } from '#domain/chain.ts';
import { type CinderSight, diagnose, type Past } from '#domain/diagnosis.ts';
import type { Fault } from '#domain/failure.ts';
import { type FileName, QCOW2, type VolumeId } from '#domain/ids.ts';
import type { Limits } from '#domain/plan-create.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView } from '#domain/sight.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { DiskOf } from '#ports/hypervisor.ts';
import type { ChainReport } from '#ports/inspect.ts';
import type { Journal } from '#ports/journal.ts';
import type { Volumes } from '#ports/volumes.ts';
import type { LookWorld, look } from './look.ts';

export interface DiagnoseWorld extends LookWorld {
  readonly look: typeof look;
  readonly limits: Limits;
}

/** How many of a volume's operations are looked through. */
const PAST = 64;

/**
 * Asks every witness about one disk. Works without Cinder: its word is then missing. Reads only the
 * headers of what is surely qcow2.
 */
export async function examine(
  world: DiagnoseWorld,
  disk: DiskOf,
  attachment: string | null,
): Promise<Result<ChainReport, Trouble>> {
  const { hypervisor, volumes, journal, limits } = world;
  const { volume } = disk;
  const first = await hypervisor.look(disk);
  if (!first.ok) return fault(first.error);
  const headers = overlaysOf(first.value);
  const want = { disk, headers, newcomer: null, snapshot: null, attachment: null };
  const [sight, cinder, past, chain] = await Promise.all([
    world.look(world, { ...want, late: () => false }),
    askCinder(volumes, volume, attachment),
    pastOf(journal, volume),
    journal.chain(volume),
  ]);
  if (!sight.ok) return fault(sight.error);
  const { guest, headers: read, known } = sight.value;
  if (guest.kind === 'absent') return err({ kind: 'refused', refusal: guest.why });
  const it = { volume, guest, headers: read, known, cinder, chain, past, limits };
  const findings = diagnose(it);
  const { active, snapshots } = cinder;
  return ok({ volume, guest, headers: read, cinder: active, snapshots, findings });
}

async function askCinder(
  volumes: Volumes,
  volume: VolumeId,
  attachment: string | null,
): Promise<CinderSight> {
  const [active, attachments, snapshots] = await Promise.all([
    attachment === null ? ok(null) : volumes.activeFile(attachment),
    volumes.attachments(volume),
    volumes.snapshots(volume),
  ]);
  return {
    active: active.ok ? active.value : null,
    attachments: attachments.ok ? (attachments.value?.length ?? 0) : null,
    snapshots: snapshots.ok ? snapshots.value : null,
  };
}

async function pastOf(journal: Journal, volume: VolumeId): Promise<readonly Past[]> {
  const [operations, pending] = await Promise.all([
    journal.operations({ volume, limit: PAST }),
    journal.notices({ state: 'pending' }),
  ]);
  return operations.map(({ id, saga }) => {
    const unsent = pending.filter(({ operation }) => operation === id).length;
    return { id, saga, unsent };
  });
}

/** The files whose headers are worth showing: those that are surely qcow2. */
function overlaysOf(guest: GuestView): readonly FileName[] {
  if (guest.kind === 'absent') return [];
  return layersOf(guest.chain)
    .filter(({ on, format }) => (format === null ? on !== null : format === QCOW2))
    .map((layer) => layer.file);
}

const fault = (it: Fault) => err<Trouble>({ kind: 'fault', fault: it });
