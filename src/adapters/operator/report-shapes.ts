import { z } from 'zod';
import type { OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { PHASES } from '#ports/journal.ts';
import { named } from '../http/described.ts';

/**
 * What the admin API says, as schemas: the functions of report-json.ts have their types from here,
 * and so has the OpenAPI document. Keys are snake_case and stay as they are.
 */

const moment = z.iso.datetime().meta({ pattern: undefined });
const whole = z.int().min(0);
/** A text with the type that an id has inside. */
const text = <T extends string>() => z.string() as z.ZodType<string> as z.ZodType<T>;
const volume = text<VolumeId>();
const server = text<ServerId>();
const fileFormat = z
  .record(z.string(), z.string())
  .describe("By bare file name, libvirt's name of the format");

export const ERROR = named(
  'Error',
  z.strictObject({
    error: z.strictObject({
      kind: z.string(),
      message: z.string().describe('One sentence, without secrets'),
    }),
  }),
);

export const FINDING = named(
  'Finding',
  z.strictObject({
    code: z.string(),
    severity: z.enum(['error', 'warning']).describe('error: data is at stake'),
    saw: z.string().describe('Which witness says what'),
    do: z.string().describe('The safe next step'),
  }),
);

/** One layer by three witnesses. */
export const LAYER = named(
  'Layer',
  z.strictObject({
    layer: whole.describe('0 is the base'),
    file: z.string(),
    format: z.string().nullable(),
    libvirt: z.string().describe('ok, or what is wrong'),
    header: z.string().describe('ok, or what is wrong'),
    cinder: z.string(),
    note: z.string(),
  }),
);

const JOB = z.strictObject({
  kind: z.enum(['pull', 'copy', 'commit', 'active-commit', 'other']),
  done: z.number(),
  total: z.number(),
  mirror: z.strictObject({ into: z.string(), ready: z.boolean() }).optional(),
});

export const CHAIN = named(
  'Chain',
  z.strictObject({
    volume,
    server,
    target: z.string(),
    running: z.boolean(),
    size: whole.nullable().describe('In bytes; null where nobody says'),
    source: z.string().describe('The folder, or the URL of a place that only QEMU reaches'),
    encrypted: z.boolean(),
    job: JOB.nullable(),
    active: z.string().describe('The file that the guest writes to'),
    cinder_active: z.string().nullable().describe('The same by Cinder; null when it does not say'),
    problems: z.array(z.string()),
    findings: z.array(FINDING),
    layers: z.array(LAYER),
  }),
);

const LAID = named(
  'FileFormat',
  z.strictObject({
    file: z.string(),
    format: z.string(),
    provenance: z
      .enum(['reported', 'assumed'])
      .describe('By libvirt; or implied by what was done, where an old libvirt leaves it out'),
  }),
);

export const PLAN = named(
  'Plan',
  z.strictObject({
    virsh: z.array(z.string()).describe('What a person would type instead'),
    verdict: z.literal('accepted'),
    action: z.string(),
    mend: z.string().nullable(),
    before: z.array(LAID),
    after: z.array(LAID),
    file_format: fileFormat,
    refusal: z.null(),
    reason: z.null(),
  }),
);

export const FORMATS = named(
  'Formats',
  z.strictObject({ volume, file_format: fileFormat, files: z.array(LAID) }),
);

export const OPERATION = named(
  'Operation',
  z.strictObject({
    id: text<OperationId>(),
    kind: z.enum(['create', 'delete', 'undo']),
    state: z.string().describe('end when it is over'),
    outcome: z
      .enum(['created', 'merged', 'undone', 'failed', 'withdrawn', 'unknown'])
      .nullable()
      .describe('Null until then; unknown needs a person'),
    reason: z.string().nullable(),
    volume,
    snapshot: text<SnapshotId>(),
    server,
    new_file: z.string().nullable(),
    file_to_merge: z.string().nullable(),
    merge_target_file: z.string().nullable(),
    asked_at: moment,
    updated_at: moment,
    request_id: z.string(),
    global_request_id: z.string().nullable(),
  }),
);

export const PROGRESS = z.strictObject({
  job: JOB.shape.kind,
  done: z.number(),
  total: z.number(),
  percent: whole,
  rate: z.number().nullable().describe('In the unit of done, a second'),
  seconds_left: z.number().nullable(),
});

/** What a `progress` event holds. */
export const PROGRESS_EVENT = named('Progress', PROGRESS.extend({ id: OPERATION.shape.id }));

export const OPERATION_REPORT = named(
  'OperationReport',
  OPERATION.extend({
    file_format: fileFormat,
    evidence: z.array(
      z.strictObject({ seq: whole, at: moment, kind: z.string(), detail: z.string() }),
    ),
    phases_ms: z.partialRecord(z.enum(PHASES), z.number()).describe('What it has waited for'),
    notices: z
      .array(
        z.strictObject({
          seq: whole,
          state: z.enum(['pending', 'accepted', 'obsolete']),
          took_ms: z.number().nullable().describe('From its entry to the yes of Cinder'),
          update: z.string(),
          percent: z.number().nullable(),
          file_format: fileFormat,
        }),
      )
      .describe('What Cinder is told'),
  }),
);

export const DIAGNOSIS = named(
  'Diagnosis',
  z.strictObject({
    volume,
    server,
    target: z.string(),
    reason: z.string().nullable().describe('Why nobody could look'),
    findings: z.array(FINDING),
  }),
);
