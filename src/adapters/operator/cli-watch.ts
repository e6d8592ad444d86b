import type { Command } from 'commander';
import { client, operationId } from './cli-options.ts';
import { type ClientOptions, EXIT, look, type Run } from './cli-run.ts';
import { awayBy } from './client.ts';
import { escapeText } from './escape.ts';
import { type Heard, listenTo, Refused } from './events-client.ts';
import { type Fields, renderData, renderList } from './output.ts';
import { type Bar, barOf } from './progress-bar.ts';

/**
 * `chainkeeper ops watch`: what happens, as it happens. Whoever stops watching stops nothing: in
 * virsh Ctrl-C aborts the job that --wait waits for, here it only detaches.
 */
export function addWatch(ops: Command, run: Run, known: readonly string[]): void {
  client(ops.command('watch'))
    .description('operations as they go on, with progress; Ctrl-C only stops the watching')
    .argument(
      '[ID]',
      'only this one, until it has ended; its outcome is the exit code',
      operationId,
    )
    .action(async (id: string | undefined, options: ClientOptions) => {
      const socket = run.socketOf(options);
      if (socket === null) return;
      const screen = screenFor(run, options, known);
      const last = await follow(run, { socket, id: id ?? null }, screen);
      screen.leave();
      if (id !== undefined && run.code === EXIT.ok) run.code = codeOf(last);
    });
}

interface Watched {
  readonly socket: string;
  readonly id: string | null;
}

/** Until what is watched has ended, which is answered, or the watcher has had enough: null. */
async function follow(run: Run, { socket, id }: Watched, screen: Screen): Promise<Fields | null> {
  const enough = new AbortController();
  void run.io.interrupted().then(() => enough.abort());
  let detached = false;
  enough.signal.addEventListener('abort', () => {
    detached = true;
  });
  const say = (sentence: string) => screen.aside(() => run.say(sentence));
  try {
    for await (const heard of listenTo(socket, enough.signal, (ms) => say(stillOn(socket, ms)))) {
      if (heard.event === 'lost') say('the service went away; waiting for it to come back.');
      if (heard.event === 'back') say('the service is back.');
      if (id !== null && heard.event === 'ready') {
        const before = await atFirst(run, socket, id);
        if (before === null) return null;
        if (before.state === 'end') screen.operation(before);
        if (before.state === 'end') return before;
      }
      if (id !== null && heard.data.id !== id) continue;
      tell(screen, heard);
      if (id !== null && heard.event === 'operation' && heard.data.state === 'end') {
        return heard.data;
      }
    }
  } catch (error) {
    if (!detached) {
      run.say(error instanceof Refused ? error.message : awayBy(socket, error, 0).sentence);
      run.code = EXIT.away;
    }
  }
  if (detached) run.say('no longer watching; what goes on goes on.');
  return null;
}

const stillOn = (socket: string, silentMs: number): string =>
  `the service on ${socket} has said nothing for ${silentMs / 1000} s, not even that it is ` +
  'alive; still waiting (Ctrl-C ends that).';

/**
 * As it is when the watching begins: what has ended before is told of no more, and one that does
 * not exist would be waited for without end. Null when it cannot be watched, which is then said.
 */
async function atFirst(run: Run, socket: string, id: string): Promise<Fields | null> {
  const reply = await run.peek(socket, `/v1/operations/${encodeURIComponent(id)}`);
  let found: Fields | null = null;
  // Gone again, or silent: then the stream says so, and is waited for.
  if (reply.kind === 'away') return {};
  run.receive(reply, (body) => {
    found = body as Fields;
  });
  return found;
}

function tell(screen: Screen, { event, data }: Heard): void {
  if (event === 'operation') screen.operation(data);
  else if (event === 'progress') screen.progress(data);
}

/** Of an outcome that is unknown, and of one that was not waited for, the exit code is the same. */
function codeOf(last: Fields | null): number {
  if (last === null || last.outcome === 'unknown') return EXIT.unknown;
  return last.outcome === 'failed' || last.outcome === 'withdrawn' ? EXIT.failed : EXIT.ok;
}

interface Screen {
  /** Has something said that is no part of what is shown. */
  aside(say: () => void): void;
  operation(fields: Fields): void;
  progress(fields: Fields): void;
  leave(): void;
}

function screenFor(run: Run, options: ClientOptions, known: readonly string[]): Screen {
  if (options.format !== 'table' || options.column.length > 0) return records(run, options, known);
  return run.io.tty ? drawn(run) : lines(run);
}

/** For a program: one record for each change, JSON on a line of its own; no progress. */
function records(run: Run, options: ClientOptions, known: readonly string[]): Screen {
  const one = (fields: Fields) => {
    const { format, column } = options;
    const asked = column.length > 0 ? column : known;
    const row = Object.fromEntries(asked.map((name) => [name, fields[name] ?? null]));
    if (format === 'json') return run.print(`${JSON.stringify(row)}\n`);
    if (format === 'yaml') return run.print(`---\n${renderData(row, 'yaml')}`);
    run.render(renderList({ rows: [fields], known, usual: known }, look(options)));
  };
  return { aside: (say) => say(), operation: one, progress: () => {}, leave: () => {} };
}

const SELDOM_MS = 10_000;

/** For a log: a line for each change, and now and then one for the progress. */
function lines(run: Run): Screen {
  const bars = new Map<unknown, Bar>();
  const said = new Map<unknown, number>();
  return {
    aside: (say) => say(),
    operation: (fields) => {
      bars.set(fields.id, barFrom(fields));
      if (fields.state === 'end') bars.delete(fields.id);
      run.print(`${lineOf(fields)}\n`);
    },
    progress: (fields) => {
      const bar = bars.get(fields.id);
      const now = Date.now();
      if (bar === undefined || now - (said.get(fields.id) ?? 0) < SELDOM_MS) return;
      said.set(fields.id, now);
      run.print(`${escapeText(barOf({ ...bar, progress: progressFrom(fields) }, now))}\n`);
    },
    leave: () => {},
  };
}

/** For a person: a bar for each that is open, drawn over and over below what has ended. */
function drawn(run: Run): Screen {
  const bars = new Map<unknown, Bar>();
  let height = 0;
  const redraw = (above: string) => {
    // A terminal may be made narrower meanwhile; 0 is one that does not say.
    const width = run.io.width || 200;
    const now = Date.now();
    const below = [...bars.values()]
      .map((bar) => `${escapeText(barOf(bar, now, width)).slice(0, width)}\n`)
      .join('');
    const up = height > 0 ? `\u001b[${height}A\u001b[J` : '';
    run.print(`${up}${above}${below}`);
    height = bars.size;
  };
  return {
    // The bars are drawn anew below it.
    aside: (say) => {
      if (height > 0) run.print(`\u001b[${height}A\u001b[J`);
      height = 0;
      say();
      redraw('');
    },
    operation: (fields) => {
      if (fields.state !== 'end') {
        const { progress = null } = bars.get(fields.id) ?? {};
        bars.set(fields.id, { ...barFrom(fields), progress });
        return redraw('');
      }
      bars.delete(fields.id);
      redraw(`${lineOf(fields)}\n`);
    },
    progress: (fields) => {
      const bar = bars.get(fields.id);
      if (bar !== undefined) bars.set(fields.id, { ...bar, progress: progressFrom(fields) });
      redraw('');
    },
    leave: () => {},
  };
}

function lineOf({ updated_at, id, kind, volume, state, outcome, reason }: Fields): string {
  const how = state === 'end' ? `${outcome}: ${reason}` : state;
  return escapeText(`${updated_at} ${id} ${kind} ${volume} ${how}`);
}

const barFrom = ({ id, kind, volume, state, asked_at }: Fields): Bar => ({
  ...{ id: String(id), kind: String(kind), volume: String(volume), state: String(state) },
  askedAt: Date.parse(String(asked_at)),
  progress: null,
});

const progressFrom = ({ done, total, rate, seconds_left }: Fields): Bar['progress'] => ({
  ...{ done: Number(done), total: Number(total) },
  rate: rate === null ? null : Number(rate),
  secondsLeft: seconds_left === null ? null : Number(seconds_left),
});
