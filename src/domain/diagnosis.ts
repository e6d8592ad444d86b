import { layersOf } from './chain.ts';
import { cinderFindings } from './diagnosis-cinder.ts';
import { headerFindings } from './diagnosis-headers.ts';
import { pastFindings } from './diagnosis-past.ts';
import type { FileName, Format, OperationId, SnapshotId, VolumeId } from './ids.ts';
import { QCOW2 } from './ids.ts';
import type { KnownChain } from './known-chain.ts';
import type { Limits } from './plan-create.ts';
import type { Saga } from './saga.ts';
import type { DiskView, HeaderView, SnapshotView } from './sight.ts';

/** What is wrong with a volume, by the class of the fault. */
export interface Finding {
  readonly code: FindingCode;
  /** `error`: data is at stake, or nothing can be done with the volume until it is mended. */
  readonly severity: 'error' | 'warning';
  /** One sentence: which witness says what. */
  readonly saw: string;
  /** The safe next step, with the command where there is one. */
  readonly todo: string;
}

export type FindingCode =
  /** The header names a layer that is older than what the live chain has: a start loses writes. */
  | 'header-behind'
  /** The header names a file that was never there, or none. */
  | 'header-lies'
  /** The header calls its backing file something that it is not, or leaves it to be probed. */
  | 'header-format'
  | 'header-unreadable'
  | 'unsafe-overlay'
  /** The XML of a guest that is off has another chain than the headers, and overrides them. */
  | 'config-overrides'
  | 'format-differs'
  | 'unknown-format'
  | 'stray-layer'
  | 'unsupported-source'
  | 'chain-deep'
  | 'foreign-job'
  /** Cinder names a file as in use that is below the one that is. */
  | 'active-behind'
  /** Cinder names a file as in use that is not in the chain. */
  | 'active-stranger'
  | 'attachments'
  | 'snapshot-stuck'
  | 'snapshot-without-layer'
  | 'layer-without-snapshot'
  | 'operation-unknown'
  | 'merge-unproven'
  | 'unsent'
  /** Somebody else has changed the chain that an operation of ours had left. */
  | 'changed-by-another';

/** A row of Cinder's. */
export interface ListedSnapshot extends SnapshotView {
  readonly id: SnapshotId;
}

/** What Cinder says of a volume; null where it did not say. */
export interface CinderSight {
  readonly active: FileName | null;
  readonly attachments: number | null;
  readonly snapshots: readonly ListedSnapshot[] | null;
}

/** An operation of ours on the volume, with the number of words that Cinder has not heard yet. */
export interface Past {
  readonly id: OperationId;
  readonly saga: Saga;
  readonly unsent: number;
}

/** Everything that all the witnesses say of one volume. */
export interface VolumeSight {
  readonly volume: VolumeId;
  readonly guest: DiskView;
  /** Of every layer that is qcow2 by what libvirt says, or by standing on something. */
  readonly headers: Readonly<Record<string, HeaderView>>;
  readonly known: ReadonlyMap<FileName, Format>;
  readonly cinder: CinderSight;
  /** What the journal knows of the chain. */
  readonly chain: KnownChain | null;
  /** Newest first. */
  readonly past: readonly Past[];
  readonly limits: Limits;
}

/**
 * Compares the witnesses of one volume, and names what each contradiction is. The live chain is
 * what the guest reads, the headers are what it will read after its next start, and what Cinder
 * says is what it will be started from and what Cinder removes: each of them can be wrong alone.
 */
export function diagnose(sight: VolumeSight): readonly Finding[] {
  const all = [
    ...pastFindings(sight),
    ...headerFindings(sight),
    ...cinderFindings(sight),
    ...chainFindings(sight),
  ];
  return [...all.filter(isError), ...all.filter((one) => !isError(one))];
}

const isError = ({ severity }: Finding): boolean => severity === 'error';

function chainFindings({ guest, known, past, limits }: VolumeSight): readonly Finding[] {
  const { server, target } = guest;
  const findings: Finding[] = [];
  const layers = layersOf(guest.chain);
  if (guest.source.kind === 'other') {
    findings.push({
      code: 'unsupported-source',
      severity: 'warning',
      saw: `the source of ${target} is a ${guest.source.type}, which is not looked into`,
      todo: 'if it is a folder of volumes, add it to [libvirt] volume_directories',
    });
  }
  if (guest.stray !== null) {
    const { file, directory } = guest.stray;
    findings.push({
      code: 'stray-layer',
      severity: 'error',
      saw: `${file} lies in ${directory}, not beside the active file`,
      todo: `virsh dumpxml ${server}: find out who started it so; its files must lie together`,
    });
  }
  for (const { file, format, on } of layers) {
    const made = on === null ? known.get(file) : QCOW2;
    if (format === null && made === undefined) {
      findings.push({
        code: 'unknown-format',
        severity: 'warning',
        saw: `libvirt does not say what ${file} is, and nothing is recorded`,
        todo: `virsh edit ${server}: name its format in the XML; it is never guessed`,
      });
    }
    if (format === null || made === undefined || format === made) continue;
    findings.push({
      code: 'format-differs',
      severity: 'error',
      saw: `the guest has ${file} as ${format}, and it was made as ${made}`,
      todo: `virsh shutdown ${server}, then virsh edit ${server}: its format is ${made}`,
    });
  }
  if (layers.length >= limits.maxChainDepth) {
    findings.push({
      code: 'chain-deep',
      severity: 'warning',
      saw: `the chain has ${layers.length} layers, and the limit is ${limits.maxChainDepth}`,
      todo: 'delete snapshots of the volume, or raise [libvirt] max_chain_depth',
    });
  }
  const ours = past.some(({ saga }) => saga.at !== 'end' && saga.at !== 'waiting');
  if (guest.job !== null && !ours) {
    findings.push({
      code: 'foreign-job',
      severity: 'warning',
      saw: `${target} has a ${guest.job.kind} job that chainkeeper did not start`,
      todo: `virsh blockjob ${server} ${target} --info: wait until it has ended`,
    });
  }
  return findings;
}
