import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The beginning of the name of a temporary folder: whose it is stands in it. */
export const ownFolder = (within = tmpdir(), pid: number = process.pid): string =>
  join(within, `chainkeeper-sim-${pid}-`);

/** A process of another container has a pid of its own there; by then it has made its socket. */
const YOUNG_MS = 60_000;

/**
 * Removes what processes that were killed have left: temporary folders of ours, of which neither
 * the process lives nor anybody answers on the socket. Answers their paths.
 */
export async function removeLeftovers(within = tmpdir()): Promise<readonly string[]> {
  const gone: string[] = [];
  for (const name of readdirSync(within)) {
    const [, pid] = /^chainkeeper-sim-(\d+)-\w+$/.exec(name) ?? [];
    const folder = join(within, name);
    if (pid === undefined || lives(Number(pid)) || !isOurs(folder)) continue;
    const code = await knock(join(folder, 'chainkeeper.sock'));
    if (code !== 'ECONNREFUSED' && !(code === 'ENOENT' && isOld(folder))) continue;
    try {
      rmSync(folder, { recursive: true, force: true });
      gone.push(folder);
    } catch {}
  }
  return gone;
}

/** Not a link that somebody put there, either. */
function isOurs(folder: string): boolean {
  const it = lstatSync(folder, { throwIfNoEntry: false });
  return it?.isDirectory() === true && it.uid === process.getuid?.();
}

const isOld = (folder: string): boolean => Date.now() - lstatSync(folder).mtimeMs > YOUNG_MS;

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** The errno that connecting fails with; null when somebody answers. */
function knock(socket: string): Promise<string | null> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    const done = (code: string | null) => {
      probe.destroy();
      resolve(code);
    };
    probe.once('connect', () => done(null));
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? null));
  });
}
