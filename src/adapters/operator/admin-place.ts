import { mkdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { thingAt } from '../system/access.ts';

/**
 * One level only, as `/run/chainkeeper` needs it after each boot. More than that is a slip of the
 * pen, and a service that runs as root would make a folder tree of it.
 */
export function makeFolder(folder: string): string | null {
  const thing = thingAt(folder);
  if (thing === 'a folder') return null;
  if (thing !== null) return `${folder} is ${thing}: move it, or ${ANOTHER}`;
  const parent = dirname(folder);
  if (thingAt(parent) === null) {
    return `neither ${folder} nor ${parent} is there: make it, or ${ANOTHER}`;
  }
  mkdirSync(folder, { mode: 0o750 });
  return null;
}

/** Removes a socket that nobody listens on, or says why there is no room. */
export async function clearTheWay(socket: string): Promise<string | null> {
  const thing = thingAt(socket);
  if (thing === null) return null;
  if (thing !== 'a socket') return `it is ${thing}: move it, or ${ANOTHER}`;
  switch (await knock(socket)) {
    case 'ECONNREFUSED':
      unlinkSync(socket);
      return null;
    case null:
      return `somebody listens there, maybe another chainkeeper: stop that one, or ${ANOTHER}`;
    case 'EACCES':
      return `it belongs to another user, and may be in use: run it as that one, or ${ANOTHER}`;
    default:
      return `it is in use: stop whoever has it, or ${ANOTHER}`;
  }
}

const ANOTHER = 'name another [operator] socket';

/** The errno that connecting fails with; null when somebody answers. */
function knock(socket: string): Promise<string | null> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    const done = (code: string | null) => {
      probe.destroy();
      resolve(code);
    };
    probe.once('connect', () => done(null));
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'unknown'));
  });
}
