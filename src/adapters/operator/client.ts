import { request } from 'node:http';

/** What the service said, or that it is away. */
export type Reply =
  | { readonly kind: 'ok'; readonly body: unknown }
  | { readonly kind: 'no'; readonly status: number; readonly why: string; readonly is: string }
  /** `silent`: it was there, and may have done what it was asked for. */
  | { readonly kind: 'away'; readonly sentence: string; readonly why: Away };

type Away = 'absent' | 'forbidden' | 'silent';

/** Asks the service over its socket, and waits for the answer for so long. */
export async function ask(
  socket: string,
  path: string,
  body?: object,
  patienceMs = PATIENCE_MS,
): Promise<Reply> {
  try {
    const { status, text } = await exchange(socket, path, body, patienceMs);
    const json: unknown = JSON.parse(text);
    if (status < 300) return { kind: 'ok', body: json };
    const { kind, message } = errorOf(json);
    return { kind: 'no', status, why: message, is: kind };
  } catch (error) {
    return { kind: 'away', ...sentenceFor(socket, error, patienceMs) };
  }
}

const PATIENCE_MS = 60_000;

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

function errorOf(json: unknown): { readonly kind: string; readonly message: string } {
  const error = typeof json === 'object' && json !== null && 'error' in json ? json.error : null;
  if (typeof error !== 'object' || error === null) return { kind: 'unknown', message: 'no reason' };
  const word = (key: string) => String((error as Record<string, unknown>)[key] ?? 'unknown');
  return { kind: word('kind'), message: word('message') };
}

function sentenceFor(
  socket: string,
  error: unknown,
  patienceMs: number,
): { readonly sentence: string; readonly why: Away } {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return {
        sentence:
          `the service is not running: nobody listens on ${socket}; ` +
          'start it, or name --socket.',
        why: 'absent',
      };
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
