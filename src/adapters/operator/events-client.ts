import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from '../http/node-http.ts';

/**
 * One event of `GET /v1/events`. Two are ours: `lost`, the service went away and is waited for, and
 * `back`.
 */
export interface Heard {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The service is there, and will not tell. */
export class Refused extends Error {}

/** `answerMs` until it answers; then it gives a sign of life every 15 s. */
export interface Pace {
  readonly againMs: number;
  readonly answerMs: number;
  readonly aliveMs: number;
}
const PACE: Pace = { againMs: 1000, answerMs: 5000, aliveMs: 35_000 };

/**
 * What the service tells until `signal`; when it goes away, what it tells once it is back, from
 * where it was. `silent` is called when it has hung for so long, which is no reason to go.
 * Throws what a first attempt to connect fails with.
 */
export async function* listenTo(
  socketPath: string,
  signal: AbortSignal,
  silent: (ms: number) => void = () => {},
  pace = PACE,
): AsyncGenerator<Heard> {
  let last: string | null = null;
  let [before, lost] = [false, false];
  while (!signal.aborted) {
    try {
      const answer = await connected(socketPath, last, signal, () => silent(pace.answerMs), pace);
      if (lost) yield { event: 'back', data: {} };
      [before, lost] = [true, false];
      // Once for each silence, and it closes nothing.
      answer.socket.setTimeout(pace.aliveMs, () => silent(pace.aliveMs));
      for await (const { id, ...heard } of parsed(answer)) {
        last = id ?? last;
        yield heard;
      }
    } catch (error) {
      if (!before) throw error;
    }
    if (signal.aborted) return;
    if (!lost) yield { event: 'lost', data: {} };
    lost = true;
    await sleep(pace.againMs, undefined, { signal }).catch(() => {});
  }
}

function connected(
  socketPath: string,
  last: string | null,
  signal: AbortSignal,
  late: () => void,
  { answerMs }: Pace,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = last === null ? {} : { 'last-event-id': last };
    const call = request({ socketPath, path: '/v1/events', agent: false, headers, signal });
    const timer = setTimeout(late, answerMs);
    call.once('close', () => clearTimeout(timer));
    call.once('error', reject);
    call.once('response', (answer) => {
      clearTimeout(timer);
      if (answer.statusCode === 200) return resolve(answer);
      answer.resume();
      const code = answer.statusCode;
      const why = code === 503 ? 'it stops, or too many listen' : 'is it a chainkeeper?';
      reject(new Refused(`the service on ${socketPath} tells nothing (status ${code}): ${why}`));
    });
    call.end();
  });
}

/** The events of a stream; a comment and a field that we do not know are passed over. */
async function* parsed(answer: IncomingMessage): AsyncGenerator<Heard & { readonly id?: string }> {
  let rest = '';
  for await (const piece of answer.setEncoding('utf8')) {
    const blocks = `${rest}${piece}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const lines = block.split('\n').map((line) => /^(\w+): (.*)$/.exec(line) ?? []);
      const fields = Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]));
      const { event, data, id } = fields;
      if (event === undefined || data === undefined) continue;
      yield { event, data: JSON.parse(data), ...(id !== undefined && { id }) };
    }
  }
}
