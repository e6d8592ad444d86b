import type { z } from 'zod';
import { type FileFormat, type Layer, layersOf, type SeenLayer } from '#domain/chain.ts';
import type { Finding } from '#domain/diagnosis.ts';
import { explain, explainFault } from '#domain/failure.ts';
import { type Format, QCOW2, type VolumeId } from '#domain/ids.ts';
import type { DiskView, HeaderView } from '#domain/sight.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type {
  ChainReport,
  Diagnosis,
  OperationReport,
  PlanReport,
  Progress,
} from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';

import { maskSecrets } from './mask.ts';
import type {
  CHAIN,
  DIAGNOSIS,
  ERROR,
  FINDING,
  FORMATS,
  LAYER,
  OPERATION,
  OPERATION_REPORT,
  PLAN,
  PROGRESS,
} from './report-shapes.ts';
import { virshFor } from './virsh.ts';

/** What the admin API says and the CLI prints: snake_case keys that stay as they are. */

/** One layer by three witnesses; `header` and `libvirt` are `ok` or say what is wrong. */
export type LayerJson = Readonly<z.infer<typeof LAYER>>;

export function chainJson(report: ChainReport): z.infer<typeof CHAIN> {
  const { volume, guest, headers, cinder, findings } = report;
  const layers = layersOf(guest.chain)
    .map((layer, above) => layerJson(layer, above, guest, headers[layer.file], cinder))
    .reverse()
    .map((it, layer) => ({ layer, ...it }));
  return {
    volume,
    server: guest.server,
    target: guest.target,
    running: guest.process !== null,
    size: guest.size,
    source: guest.source.kind === 'other' ? guest.source.type : guest.source.directory,
    encrypted: guest.keys.length > 0,
    job: guest.job,
    active: guest.chain.file,
    cinder_active: cinder,
    problems: findings.map(({ saw }) => saw),
    findings: findings.map(findingJson),
    layers,
  };
}

export function planJson(plan: PlanReport): z.infer<typeof PLAN> {
  const { action, before, after, fileFormat, mend } = plan;
  return {
    virsh: [...virshFor(plan)],
    verdict: 'accepted',
    action,
    mend,
    before: layersJson(before),
    after: layersJson(after),
    file_format: fileFormatJson(fileFormat),
    refusal: null,
    reason: null,
  };
}

export function formatsJson(
  volume: VolumeId,
  formats: readonly FileFormat[],
): z.infer<typeof FORMATS> {
  return { volume, file_format: fileFormatJson(formats), files: [...formats] };
}

export function operationJson(operation: Operation): z.infer<typeof OPERATION> {
  const { id, saga, accepted, ...rest } = operation;
  const { request } = saga;
  return {
    id,
    kind: saga.kind,
    state: accepted ? saga.at : 'asked',
    outcome: saga.at === 'end' ? saga.outcome : null,
    reason: saga.at === 'end' ? maskSecrets(saga.reason) : null,
    volume: request.volume,
    snapshot: request.snapshot,
    server: request.server,
    new_file: 'newFile' in request ? request.newFile : null,
    file_to_merge: 'fileToMerge' in request ? request.fileToMerge : null,
    merge_target_file: 'mergeTarget' in request ? request.mergeTarget : null,
    asked_at: new Date(rest.askedAt).toISOString(),
    updated_at: new Date(rest.updatedAt).toISOString(),
    request_id: rest.requestId,
    global_request_id: rest.globalRequestId,
  };
}

export const progressJson = ({
  job,
  done,
  total,
  rate,
  secondsLeft,
}: Progress): z.infer<typeof PROGRESS> => ({
  job,
  done,
  total,
  percent: total === 0 ? 0 : Math.floor((100 * done) / total),
  rate: rate === null ? null : Math.round(rate),
  seconds_left: secondsLeft,
});

export function operationReportJson(report: OperationReport): z.infer<typeof OPERATION_REPORT> {
  const { operation, evidence, notices } = report;
  return {
    ...operationJson(operation),
    file_format: operation.saga.at === 'end' ? fileFormatJson(operation.saga.formats) : {},
    phases_ms: operation.trace ?? {},
    evidence: evidence.map(({ seq, at, kind, detail }) => ({
      seq,
      at: new Date(at).toISOString(),
      kind,
      detail: maskSecrets(detail),
    })),
    notices: notices.map(({ seq, update, state, tookMs }) => ({
      seq,
      state,
      took_ms: tookMs ?? null,
      update: update.kind,
      percent: 'percent' in update ? update.percent : null,
      file_format: 'formats' in update ? fileFormatJson(update.formats) : {},
    })),
  };
}

/** A refusal is the asker's to change; a fault is the world's. */
export function troubleJson(trouble: Trouble): {
  readonly status: number;
  readonly body: ReturnType<typeof errorJson>;
} {
  if (trouble.kind === 'refused') {
    const { refusal } = trouble;
    return { status: 400, body: errorJson(refusal.kind, explain(refusal)) };
  }
  const { fault } = trouble;
  const status = fault.kind === 'unreachable' ? 503 : 502;
  return { status, body: errorJson(fault.kind, explainFault(fault)) };
}

export const errorJson = (kind: string, message: string): z.infer<typeof ERROR> => ({
  error: { kind, message: maskSecrets(message) },
});

function layerJson(
  layer: SeenLayer,
  above: number,
  guest: DiskView,
  header: HeaderView | undefined,
  cinder: string | null,
): Omit<LayerJson, 'layer'> {
  const overlay = layer.on !== null;
  return {
    file: layer.file,
    format: layer.format ?? (overlay ? QCOW2 : null),
    libvirt: layer.format === null ? 'names no format' : 'ok',
    header: header === undefined ? 'not read' : headerWord(header, layer, guest),
    cinder: cinder === null ? 'unknown' : cinder === layer.file ? 'ACTIVE' : '-',
    note: noteOf(above, layer, guest, header),
  };
}

function noteOf(
  above: number,
  layer: SeenLayer,
  guest: DiskView,
  header: HeaderView | undefined,
): string {
  const below = header?.ok ? header.value.backingFile : null;
  if (endsEarly(layer, guest) && below !== null) return `by its header it stands on ${below}`;
  if (above === 0) return guest.process === null ? 'used when the guest runs' : 'guest writes here';
  return layer.on === null ? 'base, read-only' : 'read-only';
}

/** The XML of a guest that does not run may end its chain anywhere below the active file. */
const endsEarly = (layer: SeenLayer, guest: DiskView): boolean =>
  layer.on === null && guest.process === null;

/** Whether a header tells the same as the live chain; the next start of the guest believes it. */
function headerWord(header: HeaderView, layer: SeenLayer, guest: DiskView): string {
  if (!header.ok) return header.error.says;
  const { backingFile, backingFormat } = header.value;
  const below = layer.on;
  const chained = endsEarly(layer, guest) || backingFile === (below?.file ?? null);
  if (!chained) return `names ${backingFile ?? 'no backing file'}`;
  if (below !== null && !sameFormat(backingFormat, below)) {
    return `calls its backing file ${backingFormat ?? 'nothing'}`;
  }
  const same = guest.size === null || header.value.size === guest.size;
  return same ? 'ok' : `has a size of ${header.value.size}`;
}

/** A format that libvirt does not name cannot be contradicted; one the header lacks is probed. */
const sameFormat = (says: Format | null, below: SeenLayer): boolean =>
  says !== null && (below.format === null || says === below.format);

export const findingJson = ({ code, severity, saw, todo }: Finding): z.infer<typeof FINDING> => ({
  code,
  severity,
  saw,
  do: todo,
});

export function diagnosisJson(diagnosis: Diagnosis): z.infer<typeof DIAGNOSIS> {
  const { volume, server, target, report } = diagnosis;
  const about = { volume, server, target };
  if (report.ok)
    return { ...about, reason: null, findings: report.value.findings.map(findingJson) };
  return { ...about, reason: troubleWords(report.error), findings: [] };
}

export const troubleWords = (it: Trouble): string =>
  it.kind === 'refused' ? explain(it.refusal) : explainFault(it.fault);

const layersJson = (active: Layer) =>
  layersOf(active).map(({ file, format, provenance }) => ({ file, format, provenance }));

const fileFormatJson = (formats: readonly FileFormat[]): Record<string, string> =>
  Object.fromEntries(formats.map(({ file, format }) => [file, format]));
