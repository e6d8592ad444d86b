import { request } from '../http/node-http.ts';
import { thingAt } from '../system/access.ts';

/** What the service said, or that it is away. */
export type Reply =
  | { readonly kind: 'ok'; readonly body: unknown }
  | { readonly kind: 'no'; readonly status: number; readonly why: string; readonly is: string }
  /** `silent`: it was there, and may have done what it was asked for. */
  | { readonly kind: 'away'; readonly sentence: string; readonly why: Away };

type Away = 'absent' | 'forbidden' | 'silent';

/**
 * Asks the service over its socket, and waits for the answer for so long. `slow` is called once
 * when there is none after some seconds, with how long it will be waited for in all.
 */
export async function ask(
  socket: string,
  path: string,
  body?: object,
  patienceMs = PATIENCE_MS,
  slow: (sentence: string) => void = () => {},
): Promise<Reply> {
  const slowMs = Math.min(SLOW_MS, patienceMs / 2);
  const told = setTimeout(() => slow(waiting(socket, slowMs, patienceMs)), slowMs);
  try {
    const { status, text } = await exchange(socket, path, body, patienceMs);
    return replyOf(socket, status, text);
  } catch (error) {
    return { kind: 'away', ...awayBy(socket, error, patienceMs) };
  } finally {
    clearTimeout(told);
  }
}

/** Longer than the service takes to decide anything: 8 s, and then some. */
const PATIENCE_MS = 60_000;
const SLOW_MS = 5000;

const waiting = (socket: string, slowMs: number, patienceMs: number): string =>
  `the service on ${socket} has not answered for ${slowMs / 1000} s; waiting for it up to ` +
  `${patienceMs / 1000} s (Ctrl-C ends that).`;

/** Somebody else may listen there, who speaks in other words, or in none. */
function replyOf(socket: string, status: number, text: string): Reply {
  const stranger = `whoever listens on ${socket} does not answer as chainkeeper does`;
  try {
    const json: unknown = JSON.parse(text);
    if (status < 300) return { kind: 'ok', body: json };
    const { kind, message } = errorOf(json) ?? { kind: 'unknown', message: null };
    const why = message ?? `${stranger} (status ${status}): name its socket with --socket.`;
    return { kind: 'no', status, why, is: kind };
  } catch {
    const why = `${stranger} (status ${status}, no JSON): name its socket with --socket.`;
    return { kind: 'no', status, why, is: 'unknown' };
  }
}

function exchange(
  socketPath: string,
  path: string,
  body: object | undefined,
  patienceMs: number,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const sent = body === undefined ? null : JSON.stringify(body);
    const call = request({
      socketPath,
      path,
      agent: false,
      method: sent === null ? 'GET' : 'POST',
      headers: sent === null ? {} : { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(patienceMs),
    });
    call.once('error', reject);
    call.once('response', (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.once('error', reject);
      response.once('end', () => {
        const text = Buffer.concat(pieces).toString('utf8');
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    call.end(sent);
  });
}

function errorOf(json: unknown): { readonly kind: string; readonly message: string } | null {
  const error = typeof json === 'object' && json !== null && 'error' in json ? json.error : null;
  if (typeof error !== 'object' || error === null) return null;
  const word = (key: string) => String((error as Record<string, unknown>)[key] ?? 'unknown');
  return { kind: word('kind'), message: word('message') };
}

/** What a failed exchange means. */
export function awayBy(
  socket: string,
  error: unknown,
  patienceMs: number,
): { readonly sentence: string; readonly why: Away } {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT': {
      const thing = code === 'ENOENT' ? null : thingAt(socket);
      if (thing !== null && thing !== 'a socket') {
        return { sentence: `${socket} is ${thing}: name the socket by --socket.`, why: 'absent' };
      }
      return {
        sentence:
          `the service is not running: nobody listens on ${socket}; ` +
          'start it, or name --socket.',
        why: 'absent',
      };
    }
    case 'ENOTDIR':
    case 'ENOTSOCK':
    case 'EPROTOTYPE':
    case 'ELOOP':
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return { sentence: `${socket} is no socket of a service: name --socket.`, why: 'absent' };
    case 'EPERM':
    case 'EACCES':
      return {
        sentence: `you may not write to ${socket}: become a member of its group.`,
        why: 'forbidden',
      };
    default: {
      const late = error instanceof Error && error.name.match(/^(Abort|Timeout)Error$/) !== null;
      const why = late ? `within ${patienceMs / 1000} s` : `(${error})`;
      const sentence =
        `the service on ${socket} gave no answer ${why}, and what it did is unknown: see ` +
        "'chainkeeper doctor', then 'chainkeeper ops list'.";
      return { sentence, why: 'silent' };
    }
  }
}
