import { constants } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { find, type Layer, layersOf, type Merge } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { CopyOrder } from '#ports/images.ts';
import { codeOf } from '../system/access.ts';
import { qemuImg } from './qemu-img.ts';

// O_NONBLOCK: opening a FIFO that somebody put there must not hang.
export const FOR_LOOKING = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * qemu-img over a whole chain. It is given every driver, so that no header is believed, and the
 * files that were opened here, so that no link is followed: it runs in a folder of its own, in
 * which each file's bare name leads to the descriptor that it inherits. Bare names have to be: with
 * others qemu-img takes the chain for one that its headers do not name, and writes no relative name
 * into one (measured on 7.2.22).
 */
export async function copyOffline(order: CopyOrder): Promise<Result<null, Fault>> {
  const { chain, merge } = order;
  const top = merge.kind === 'commit' ? find(chain, merge.top) : chain;
  if (top === null) return refused('EINVAL', `${chain.file} has nothing to merge`);
  try {
    return await copyFrom(top, order);
  } catch (error) {
    return refused(codeOf(error), `${top.file} and what it stands on`);
  }
}

async function copyFrom(top: Layer, { directory, merge }: CopyOrder): Promise<Result<null, Fault>> {
  await using stack = new AsyncDisposableStack();
  const cwd = await mkdtemp(join(tmpdir(), 'chainkeeper-merge-'));
  stack.defer(() => rm(cwd, { recursive: true }));
  const handles: FileHandle[] = [];
  for (const [at, { file }] of layersOf(top).entries()) {
    const handle = stack.use(await open(join(directory, file), FOR_LOOKING));
    if (!(await handle.stat()).isFile()) return refused('EINVAL', `${file} is no regular file`);
    await symlink(`/proc/self/fd/${FIRST_FD + at}`, join(cwd, file));
    handles.push(handle);
  }
  const fds = handles.map((handle) => handle.fd);
  const failure = await qemuImg(argumentsOf(top, merge), fds, { cwd });
  if (failure !== null) return refused(failure.code, `${top.file}: ${failure.detail}`);
  // What a commit changes is the file below, what a pull changes is the topmost one.
  await handles[merge.kind === 'commit' ? 1 : 0]?.sync();
  return ok(null);
}

/** Below it are the three that every process has. */
const FIRST_FD = 3;

/**
 * A pull writes through: each piece that qemu-img copies is on disk before the next, and the header
 * comes last. With its usual cache the header is written before the tables (measured, strace), and
 * who is killed in between leaves a guest without what was pulled.
 */
function argumentsOf(top: Layer, merge: Merge): readonly string[] {
  const image = `json:${JSON.stringify(named(top))}`;
  // -d: the overlay is not emptied, so that it can be done again.
  if (merge.kind === 'commit') return ['commit', '-q', '-d', image];
  const onto = find(top, merge.onto);
  const base = onto === null ? ['-b', ''] : ['-b', onto.file, '-F', onto.format];
  return ['rebase', '-q', '-t', 'writethrough', ...base, image];
}

interface Node {
  readonly driver: string;
  readonly file: { readonly driver: 'file'; readonly filename: string };
  readonly backing?: Node | null;
}

/** A raw file has no backing to speak of; of the lowest overlay none is looked for. */
function named({ file, format, on }: Layer): Node {
  const node = { driver: format, file: { driver: 'file', filename: file } } as const;
  if (on !== null) return { ...node, backing: named(on) };
  return format === 'qcow2' ? { ...node, backing: null } : node;
}

const refused = (code: string, detail: string): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'qemu-img', code, detail });
