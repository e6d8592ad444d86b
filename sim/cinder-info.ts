import type { FileName, SnapshotId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';

/** A volume's `.info` file: the overlay made for each snapshot, and the file in use. */
export interface Info {
  readonly active: FileName;
  readonly [snapshot: SnapshotId]: FileName;
}

/** json.dump(snap_info, f, indent=1, sort_keys=True): remotefs.py, _write_info_file. */
export const infoText = (info: Info): string =>
  JSON.stringify(Object.fromEntries(Object.entries(info).sort()), null, 1);

/** _read_info_file: json.loads of whatever is there, and nothing where there is no file. */
export function readInfo(text: string | undefined): Result<Info | null, string> {
  if (text === undefined) return ok(null);
  try {
    return ok(JSON.parse(text) as Info);
  } catch (error) {
    return err(`the .info file: ${error instanceof Error ? error.message : error}`);
  }
}

/** The snapshot for which an overlay was made, or after a pull that it stands for. */
export function snapshotOf(info: Info, file: FileName): SnapshotId | null {
  const found = Object.entries(info).find(([key, value]) => key !== 'active' && value === file);
  return found === undefined ? null : (found[0] as SnapshotId);
}

export function without(info: Info, id: SnapshotId): Info {
  const { [id]: _gone, ...rest } = info;
  return rest as Info;
}
