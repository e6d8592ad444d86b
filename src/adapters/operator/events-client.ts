import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** One event of `GET /v1/events`; `lost` is ours: the service went away, and is waited for. */
export interface Heard {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const AGAIN_MS = 1000;

/**
 * What the service tells until `signal`; when it goes away, what it tells once it is back, from
 * where it was. Throws what a first attempt to connect fails with.
 */
export async function* listenTo(socketPath: string, signal: AbortSignal): AsyncGenerator<Heard> {
  let last: string | null = null;
  let before = false;
  while (!signal.aborted) {
    try {
      const answer = await connected(socketPath, last, signal);
      before = true;
      for await (const { id, ...heard } of parsed(answer)) {
        last = id ?? last;
        yield heard;
      }
    } catch (error) {
      if (!before) throw error;
    }
    if (signal.aborted) return;
    yield { event: 'lost', data: {} };
    await sleep(AGAIN_MS, undefined, { signal }).catch(() => {});
  }
}

function connected(
  socketPath: string,
  last: string | null,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = last === null ? {} : { 'last-event-id': last };
    const call = request({ socketPath, path: '/v1/events', agent: false, headers, signal });
    call.once('error', reject);
    call.once('response', (answer) => {
      if (answer.statusCode === 200) return resolve(answer);
      answer.resume();
      reject(new Error(`the service answered ${answer.statusCode}`));
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
