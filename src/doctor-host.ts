import { constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { qemuImgVersion } from '#adapters/images/qemu-img.ts';
import { ask, type Reply } from '#adapters/operator/client.ts';
import { glance, type Holder, holderOf } from '#adapters/sqlite/glance.ts';
import { inaccessible } from '#adapters/system/access.ts';
import type { Check } from '#ports/doctor.ts';
import { bad, fine, odd } from './check.ts';
import type { Config } from './config.ts';

/** Less than this and SQLite may soon be unable to write a commit down. */
const LITTLE_BYTES = 64 * 2 ** 20;

/** The folder of the journal: there, ours, and with room. */
export function statePath({ statePath: path }: Config): Check {
  const it = 'state_path';
  if (!existsSync(path)) {
    return odd(it, `${path} is not there`, `the first start makes it; else: mkdir -m 750 ${path}`);
  }
  if (!statSync(path).isDirectory()) {
    return bad(it, `${path} is no folder`, 'name another [DEFAULT] state_path');
  }
  const problem = unusable(path, constants.R_OK | constants.W_OK | constants.X_OK);
  if (problem !== null) {
    return bad(it, `${path}: ${problem}`, `chown it to the user that chainkeeper runs as`);
  }
  const { bavail, bsize } = statfsSync(path);
  const free = bavail * bsize;
  const words = `${path} has ${Math.floor(free / 2 ** 20)} MiB free`;
  if (free < LITTLE_BYTES) return bad(it, words, `free some room: df -h ${path}`);
  return fine(it, words);
}

/** How the service is looked for, and what of the configuration is known to be as it was meant. */
export interface Asking {
  readonly journal: boolean;
  readonly door: boolean;
  /** The files that it was read from. */
  readonly files: readonly string[];
  readonly patienceMs: number;
}

/** The service, and that nobody else has its journal or its door. */
export async function service(
  config: Config,
  socket: string,
  { journal: named, door: placed, files, patienceMs }: Asking,
): Promise<{ readonly rows: readonly Check[]; readonly silent: boolean }> {
  const reply = await ask(socket, '/v1/operations?limit=1', undefined, patienceMs);
  const runs = reply.kind === 'ok';
  const path = join(config.statePath, 'journal.sqlite');
  const holder = named && inaccessible(path) === null ? holderOf(path) : null;
  const newest = runs ? newestOf(reply.body) : null;
  const rows = [
    answered(reply, { socket, log: config.logFile ?? 'stderr', holder, patienceMs }),
    ...(runs ? unread(files, socket) : []),
    ...(named ? [journal(path, runs, holder)] : []),
    ...(holder === null ? [] : user(holder)),
    ...(placed ? [await door(config, runs, holder)] : []),
    ...(config.operator.bindPort > 0 && runs ? [await metrics(config)] : []),
    clock(newest),
  ];
  return { rows, silent: reply.kind === 'away' && reply.why === 'silent' };
}

interface Asked {
  readonly socket: string;
  readonly log: string;
  readonly holder: Holder | null;
  readonly patienceMs: number;
}

/** One thing to do, which the rows of the journal and of the port do not contradict. */
function answered(reply: Reply, { socket, log, holder, patienceMs }: Asked): Check {
  const it = 'service';
  if (reply.kind === 'ok') return fine(it, `it runs, and answers on ${socket}`);
  if (reply.kind === 'no') return bad(it, reply.why, `look into its log: ${log}`);
  if (reply.why === 'forbidden') return odd(it, reply.sentence, `id; ls -l ${socket}`);
  if (holder === null && reply.why === 'absent')
    return odd(it, reply.sentence, 'chainkeeper serve');
  if (holder === null) return bad(it, reply.sentence, `look into its log: ${log}`);
  const who = `process ${holder.pid} (${holder.command})`;
  if (reply.why === 'silent') {
    const saw = `${who} gave no answer on ${socket} within ${patienceMs / 1000} s: it hangs`;
    return bad(it, saw, `kill ${holder.pid}, then start it: what it promised is in its journal`);
  }
  const saw = `${who} has the journal open, and nobody listens on ${socket}`;
  const todo = `name its --config-file or --socket; or else kill ${holder.pid}, and start it`;
  return bad(it, saw, todo);
}

function journal(path: string, runs: boolean, holder: Holder | null): Check {
  const it = 'journal';
  const missing = inaccessible(path);
  if (missing === 'ENOENT') return fine(it, `${path} is not there: the first start makes it`);
  if (missing !== null)
    return bad(it, `${path} cannot be looked at (${missing})`, 'see state_path');
  if (holder !== null) return held(path, holder, runs);
  if (runs) {
    const todo = 'name the --config-file of the service that answers, or its --socket';
    return bad(it, `the service that answers has not ${path} open`, todo);
  }
  const problem = glance(path);
  if (problem === null) return fine(it, `${path} is whole, and nobody has it open`);
  return bad(it, `${path}: ${problem}`, todoOf(problem, path));
}

function todoOf(problem: string, path: string): string {
  if (problem.startsWith('a newer')) return 'run that one';
  if (problem.endsWith('the journal is one file')) return `mv ${path} ${path}.old`;
  if (problem.includes('something else')) return 'name another [DEFAULT] state_path';
  return `restore ${path}, or move it away and see 'chainkeeper chain show' of each volume`;
}

function held(path: string, { pid, command }: Holder, runs: boolean): Check {
  const saw = `${path} is held by process ${pid} (${command})`;
  if (runs) return fine('journal', saw);
  return bad('journal', `${saw}: no second service can start`, "see 'service'");
}

/** Files are read at the start, and the socket is made then. */
function unread(files: readonly string[], socket: string): readonly Check[] {
  const changed = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const since = changed(socket);
  return files
    .filter((file) => changed(file) > since)
    .map((file) =>
      odd('config', `${file} was changed after the service began`, 'systemctl restart chainkeeper'),
    );
}

/** What one user may open says nothing of another: root may all, but on a root-squash share. */
function user({ pid }: Holder): readonly Check[] {
  const ours = process.getuid?.() ?? 0;
  const its = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? ours;
  if (its === ours) return [];
  const name = nameOf(its);
  const saw = `the service runs as ${name}, and this as ${nameOf(ours)}, who may open other files`;
  const as = ours === 0 ? `runuser -u ${name} --` : `sudo -u ${name}`;
  return [odd('user', saw, `${as} chainkeeper doctor`)];
}

function nameOf(uid: number): string {
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  return users.find((line) => line.split(':')[2] === String(uid))?.split(':')[0] ?? `#${uid}`;
}

/** Where Cinder calls: ours when we run, nobody's when not. */
async function door({ api }: Config, runs: boolean, holder: Holder | null): Promise<Check> {
  const place = `${api.bindHost}:${api.bindPort}`;
  const scheme = api.tls === null ? 'http' : 'https';
  const open = await answers(api.bindHost, api.bindPort);
  if (runs) {
    const todo = `look into the log; is [nova] endpoint of cinder.conf ${scheme}://${place}/v2.1?`;
    return open ? fine('api', `it listens on ${place}`) : bad('api', `nobody is on ${place}`, todo);
  }
  if (!open) return fine('api', `${place} is free`);
  if (holder !== null) {
    return odd('api', `somebody listens on ${place}: process ${holder.pid}?`, "see 'service'");
  }
  const todo = `ss -ltnp sport = :${api.bindPort}; or choose another [api] bind_port`;
  return bad('api', `somebody else listens on ${place}`, todo);
}

/** Where Prometheus scrapes, when it is meant to. */
async function metrics({ operator: { bindHost, bindPort } }: Config): Promise<Check> {
  const place = `${bindHost}:${bindPort}`;
  if (await answers(bindHost, bindPort)) return fine('metrics', `they are on ${place}`);
  return bad('metrics', `nobody is on ${place}`, 'restart the service: it has another bind_port');
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ host, port, timeout: 2_000 });
    const done = (open: boolean) => {
      probe.destroy();
      resolve(open);
    };
    probe.once('connect', () => done(true));
    probe.once('timeout', () => done(false));
    probe.once('error', () => done(false));
  });
}

/** A create that a restart takes up has its time by this clock. */
function clock(newest: number | null): Check {
  const now = new Date();
  const words = `it is ${now.toISOString()}`;
  const behindS = newest === null ? 0 : Math.round((newest - now.getTime()) / 1000);
  if (behindS <= 60) return fine('clock', words);
  const saw = `${words}, ${behindS} s before the newest entry of the journal`;
  return odd('clock', saw, 'timedatectl: let NTP set the clock');
}

function newestOf(body: unknown): number | null {
  const [newest] = (body as { operations: readonly { updated_at: string }[] }).operations;
  return newest === undefined ? null : Date.parse(newest.updated_at);
}

/** What mends a header. */
export async function qemuImg(command?: string): Promise<Check> {
  const version = await qemuImgVersion(command);
  if (version.ok) return fine('qemu-img', version.value);
  return bad('qemu-img', `it cannot be run: ${version.error}`, 'apt install qemu-utils');
}

export function unusable(path: string, mode: number): string | null {
  const code = inaccessible(path, mode);
  return code === null ? null : `we may not use it (${code})`;
}
