import { z } from 'zod';
import type { Refusal } from '#domain/failure.ts';
import { FILE_NAME, type FileName, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type {
  Answer,
  AssistedCreate,
  AssistedDelete,
  AssistedRequest,
  AssistedSnapshots,
  Caller,
  Trouble,
} from '#ports/assisted-snapshots.ts';
import type { Inspect } from '#ports/inspect.ts';
import { named } from '../http/described.ts';

const Id = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be an id: letters, digits, - and _, at most 64');
const File = z
  .string()
  .regex(FILE_NAME, 'must be a bare file name')
  .transform((text) => text as FileName);
const Subject = {
  volume: Id.transform((id) => id as VolumeId),
  snapshot: Id.transform((id) => id as SnapshotId),
};
/** Cinder's delete_info, as it sends it (cinder/volume/drivers/remotefs.py:1984-2012). */
const DeleteInfo = z.looseObject({
  volume_id: Id.optional(),
  file_to_merge: File.nullable(),
  merge_target_file: File.nullable(),
});
export const Asked = named(
  'Request',
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('create'), ...Subject, new_file: File }),
    z.strictObject({ kind: z.literal('delete'), ...Subject, delete_info: DeleteInfo }),
  ]),
);

/** What Cinder asks, as `chainkeeper plan` and Nova's compute service hand it on. */
export function parseRequest(body: unknown): Result<AssistedRequest, Trouble> {
  const parsed = Asked.safeParse(body, { reportInput: true });
  if (!parsed.success) return badRequest(words(parsed.error));
  const { data } = parsed;
  const { volume, snapshot } = data;
  if (data.kind === 'create')
    return ok({ kind: 'create', volume, snapshot, newFile: data.new_file });
  const { volume_id, file_to_merge, merge_target_file } = data.delete_info;
  if (volume_id !== undefined && volume_id !== volume) {
    return badRequest(`delete_info is about volume ${volume_id}, not about ${volume}.`);
  }
  const files = { fileToMerge: file_to_merge, mergeTarget: merge_target_file };
  return ok({ kind: 'delete', volume, snapshot, ...files });
}

/** What would come of it. */
export const planOf = (inspect: Inspect, { kind, ...asked }: AssistedRequest) =>
  kind === 'create'
    ? inspect.planCreate(asked as AssistedCreate)
    : inspect.planDelete(asked as AssistedDelete);

export const submit = (
  assisted: AssistedSnapshots,
  { kind, ...asked }: AssistedRequest,
  caller: Caller,
): Promise<Answer> =>
  kind === 'create'
    ? assisted.create(asked as AssistedCreate, caller)
    : assisted.delete(asked as AssistedDelete, caller);

function badRequest(problem: string): Result<never, Trouble> {
  const refusal: Refusal = { kind: 'bad-request', problem };
  return err({ kind: 'refused', refusal });
}

/** Everything that is wrong with what was sent, field by field, in plain words. */
export function words({ issues }: z.ZodError): string {
  const all = issues.map((issue) => `${issue.path.join('.') || 'the body'} ${wordOf(issue)}`);
  return `${all.join('; ')}.`;
}

function wordOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is missing';
      return `must be ${TYPES[issue.expected] ?? `a ${issue.expected}`}`;
    case 'unrecognized_keys':
      return `may not have ${issue.keys.map((key) => `'${key}'`).join(', ')}`;
    case 'invalid_union':
      return 'must be create or delete';
    default:
      return issue.message;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  object: 'a JSON object',
  string: 'a text in quotes',
};
