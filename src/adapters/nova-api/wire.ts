import { z } from 'zod';
import { FILE_NAME, type FileName, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { AssistedCreate, AssistedDelete } from '#ports/assisted-snapshots.ts';
import { named } from '../http/described.ts';
import { quoted } from './fault.ts';
import { parseJson } from './json.ts';
import type { Query } from './query.ts';

/** A create as it was asked for, and the `create_info.id` that Nova's answer repeats. */
export interface ParsedCreate {
  readonly request: AssistedCreate;
  readonly echoId: string | null;
}

/** Reads the body of a create. `lenient`: under /v2, Nova strips unknown keys. */
export function parseCreate(body: Uint8Array, lenient: boolean): Result<ParsedCreate, string> {
  const text = decodeUtf8(body);
  const json = text === null ? err('it is not valid UTF-8') : parseJson(text);
  if (!json.ok) return err(`Malformed request body: ${json.error}.`);
  const parsed = (lenient ? LENIENT_BODY : STRICT_BODY).safeParse(json.value, REPORT_INPUT);
  if (!parsed.success) return err(sentence(parsed.error, 'The request body'));
  const { volume_id: volume, create_info: info } = parsed.data.snapshot;
  return ok({
    request: {
      volume: volume as VolumeId,
      snapshot: info.snapshot_id as SnapshotId,
      newFile: info.new_file,
    },
    echoId: info.id ?? null,
  });
}

/** Reads a delete: the id in the path and the JSON in the query. */
export function parseDelete(id: string, query: Query): Result<AssistedDelete, string> {
  if (!isId(id)) return err(`Invalid snapshot id: ${ID_RULE}.`);
  const [text, ...others] = query.get('delete_info') ?? [];
  // Nova's whole message is str(KeyError('delete_info')), which tells a person nothing.
  if (text === undefined) return err("Query parameter 'delete_info' is missing: give its JSON.");
  // Nova takes the last one; which one its sender meant, nobody can tell.
  if (others.some((other) => other !== text)) return err("Two different 'delete_info' were given.");
  const json = parseJson(text);
  if (!json.ok) return err(`Malformed delete_info: ${json.error}.`);
  const parsed = DELETE_INFO.safeParse(json.value, REPORT_INPUT);
  if (!parsed.success) return err(sentence(parsed.error, 'delete_info'));
  const info = parsed.data;
  if (info.volume_id === undefined) return err("delete_info: 'volume_id' is a required property.");
  const missing = (['file_to_merge', 'merge_target_file'] as const).find((key) => !(key in info));
  // A null means "pull everything", so a missing key is no null. Only for ids that no snapshot
  // of Cinder's can have it does not matter: tempest asks so, with the literal id None
  // (tempest/lib/services/compute/assisted_volume_snapshots_client.py).
  if (missing !== undefined && isUuidLike(id)) {
    return err(`delete_info: '${missing}' is a required property.`);
  }
  return ok({
    volume: info.volume_id as VolumeId,
    snapshot: id as SnapshotId,
    fileToMerge: info.file_to_merge ?? null,
    mergeTarget: info.merge_target_file ?? null,
  });
}

/** From 2.75 on, a parameter that Nova's query schema does not name is refused. */
export function unknownParameter(query: Query): string | null {
  const unknown = [...query.keys()].find((name) => name !== 'delete_info');
  return unknown === undefined ? null : unexpected([unknown]);
}

const ID_RULE = 'it must be 1 to 255 printable ASCII characters without a slash';
const FILE_RULE =
  'it must be a bare file name of at most 255 letters, digits and . _ : @ + -, without any ' +
  'directory, such as volume-1234.snapshot-abcd';

/**
 * Nova has free strings. Ours end up in the path of a request to Cinder, where a slash or a dot
 * segment would name something else.
 */
const isId = (text: string): boolean => ID_PATTERN.test(text);
const ID_PATTERN = /^(?!\.{1,2}$)[\x20-\x2e\x30-\x7e]{1,255}$/;

/** Cinder's ids are UUIDs, with which a database may also match other spellings. */
const isUuidLike = (id: string): boolean => /^\s*[0-9a-f-]{32,36}\s*$/i.test(id);

const ID = z.string().regex(ID_PATTERN, ID_RULE);
const FILE = z
  .string()
  .regex(FILE_NAME, FILE_RULE)
  .transform((text) => text as FileName);
const TYPE = z.literal('qcow2', "it must be 'qcow2'");

/** nova/api/openstack/compute/schemas/assisted_volume_snapshots.py:19-54. */
const CREATE_INFO = { snapshot_id: ID, type: TYPE, new_file: FILE, id: ID.optional() };
export const STRICT_BODY = named(
  'AssistedSnapshot',
  z.strictObject({
    snapshot: z.strictObject({ volume_id: ID, create_info: z.strictObject(CREATE_INFO) }),
  }),
);
export const LENIENT_BODY = named(
  'AssistedSnapshotOfV2',
  z.object({ snapshot: z.object({ volume_id: ID, create_info: z.object(CREATE_INFO) }) }),
);

/** What Cinder sends (cinder/volume/drivers/remotefs.py:1984-2012); Nova ignores other keys. */
export const DELETE_INFO = z.object({
  volume_id: ID.optional(),
  type: TYPE.optional(),
  file_to_merge: FILE.nullable().optional(),
  merge_target_file: FILE.nullable().optional(),
});

const REPORT_INPUT = { reportInput: true } as const;

/** The first thing wrong, without the value itself: nobody's path gets into a log by way of us. */
function sentence(error: z.ZodError, whole: string): string {
  const [issue] = error.issues;
  if (issue === undefined) return `${whole} is invalid.`;
  const field = issue.path.join('.');
  const where = field === '' ? whole : `Invalid input for field/attribute ${field}`;
  if (issue.code === 'unrecognized_keys') return unexpected(issue.keys);
  if (issue.path.length > 0 && issue.input === undefined) {
    return `${where}: '${String(issue.path.at(-1))}' is a required property.`;
  }
  if (issue.code === 'invalid_type') {
    const needed = issue.expected === 'object' ? 'a JSON object' : `a ${issue.expected}`;
    return field === '' ? `${where} must be ${needed}.` : `${where}: it must be ${needed}.`;
  }
  return `${where}: ${issue.message}.`;
}

const unexpected = (names: readonly string[]): string =>
  `Additional properties are not allowed (${names.slice(0, 3).map(quoted).join(', ')} ` +
  `${names.length === 1 ? 'was' : 'were'} unexpected).`;

function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
