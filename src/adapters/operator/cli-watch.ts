import type { Command } from 'commander';
import { client, named } from './cli-options.ts';
import { type ClientOptions, EXIT, look, type Run } from './cli-run.ts';
import { escapeText } from './escape.ts';
import { type Heard, listenTo } from './events-client.ts';
import { type Fields, renderData, renderList } from './output.ts';
import { type Bar, barOf } from './progress-bar.ts';

/**
 * `chainkeeper ops watch`: what happens, as it happens. Whoever stops watching stops nothing: in
 * virsh Ctrl-C aborts the job that --wait waits for, here it only detaches.
 */
export function addWatch(ops: Command, run: Run, known: readonly string[]): void {
  client(ops.command('watch'))
    .description('operations as they go on, with progress; Ctrl-C only stops the watching')
    .argument('[ID]', 'only this one, until it has ended; its outcome is the exit code', named)
    .action(async (id: string | undefined, options: ClientOptions) => {
      const socket = run.socketOf(options);
      if (socket === null) return;
      if (id !== undefined && !(await isThere(run, options, id))) return;
      const screen = screenFor(run, options, known);
      const watched = { socket, id: id ?? null };
      const last = await follow(run, watched, screen);
      screen.leave();
      if (id !== undefined && run.code === EXIT.ok) run.code = codeOf(last);
    });
}

/** One that does not exist would be waited for without end. */
async function isThere(run: Run, options: ClientOptions, id: string): Promise<boolean> {
  let there = false;
  await run.ask(options, `/v1/operations/${encodeURIComponent(id)}`, () => {
    there = true;
  });
  return there;
}

/** Until what is watched has ended, which is answered, or the watcher has had enough: null. */
async function follow(
  run: Run,
  { socket, id }: { readonly socket: string; readonly id: string | null },
  screen: Screen,
): Promise<Fields | null> {
  const enough = new AbortController();
  void run.io.interrupted().then(() => enough.abort());
  let detached = false;
  enough.signal.addEventListener('abort', () => {
    detached = true;
  });
  try {
    for await (const heard of listenTo(socket, enough.signal)) {
      if (heard.event === 'lost') run.say('the service went away; waiting for it to come back.');
      if (id !== null && heard.event === 'ready') {
        const before = await ended(run, socket, id);
        if (before !== null) screen.operation(before);
        if (before !== null) return before;
      }
      if (id !== null && heard.data.id !== id) continue;
      tell(screen, heard);
      if (id !== null && heard.event === 'operation' && heard.data.state === 'end') {
        return heard.data;
      }
    }
  } catch (error) {
    if (!detached) {
      run.say(`the service on ${socket} tells nothing: ${messageOf(error)}`);
      run.code = EXIT.away;
    }
  }
  if (detached) run.say('no longer watching; what goes on goes on.');
  return null;
}

/** What ended before anybody listened is told of no more. */
async function ended(run: Run, socket: string, id: string): Promise<Fields | null> {
  const reply = await run.peek(socket, `/v1/operations/${encodeURIComponent(id)}`);
  const operation = reply as Fields | null;
  return operation?.state === 'end' ? operation : null;
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
  return { operation: one, progress: () => {}, leave: () => {} };
}

const SELDOM_MS = 10_000;

/** For a log: a line for each change, and now and then one for the progress. */
function lines(run: Run): Screen {
  const bars = new Map<unknown, Bar>();
  const said = new Map<unknown, number>();
  return {
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
    const wide = (text: string) => escapeText(text).slice(0, run.io.width || 200);
    const now = Date.now();
    const below = [...bars.values()].map((bar) => `${wide(barOf(bar, now))}\n`).join('');
    const up = height > 0 ? `\u001b[${height}A\u001b[J` : '';
    run.print(`${up}${above}${below}`);
    height = bars.size;
  };
  return {
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

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);
