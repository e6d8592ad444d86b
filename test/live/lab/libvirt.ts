/**
 * The machine's libvirtd. There can only be one: its state directories are compiled in, and a
 * second one started beside it takes its socket away (measured: the first ran on unreachable).
 * So whoever finds it running uses it, and of several labs at once the last one out stops it.
 */
import { mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { alive, run, waitFor } from './processes.ts';

export const LIBVIRT_URI = 'qemu:///system';

/** Labs of this machine that need libvirtd (one file each), and the pids that a lab started. */
const REGISTER = '/run/chainkeeper-lab';
const PID_FILES = { libvirtd: '/run/libvirtd.pid', virtlogd: '/run/virtlogd.pid' } as const;
/** Compiled in. */
const HOOKS = '/etc/libvirt/hooks/qemu.d';
type Service = keyof typeof PID_FILES;

export interface Libvirt extends AsyncDisposable {
  readonly uri: string;
  /** The services that this call started; empty when libvirtd was running already. */
  readonly started: readonly string[];
}

export function virsh(...args: string[]): Promise<string> {
  return run('virsh', ['-q', '-c', LIBVIRT_URI, ...args]);
}

/**
 * Logs go to `dir`. The configuration matters: with Debian's own, `virsh create` took 60 s
 * on a machine without systemd, with this one 0.4 s.
 */
export async function startLibvirt(dir: string): Promise<Libvirt> {
  const mine = join(REGISTER, `user-${process.pid}-${Math.random().toString(36).slice(2, 8)}`);
  const started = await locked(async () => {
    await writeFile(mine, String(process.pid));
    if (await answers()) return [];
    const services: Service[] = [];
    // Running yet unreachable: starting, stopping, or broken. Never start another beside it.
    if ((await pidOf('libvirtd')) === null) services.push(...(await startMissing(dir)));
    await waitFor('libvirtd', answers, { timeoutMs: 30_000, everyMs: 50 });
    return services;
  });
  return {
    uri: LIBVIRT_URI,
    started,
    [Symbol.asyncDispose]: () => locked(() => leave(mine)),
  };
}

async function startMissing(dir: string): Promise<Service[]> {
  const services: Service[] = [];
  const logs = `log_outputs="3:file:${join(dir, 'libvirtd.log')}"`;
  const conf = join(dir, 'libvirtd.conf');
  await writeFile(conf, `${logs}\nauth_unix_ro = "none"\nauth_unix_rw = "none"\n`);
  if ((await pidOf('virtlogd')) === null) {
    await run('virtlogd', ['-d', '-p', PID_FILES.virtlogd]);
    services.push('virtlogd');
  }
  await run('libvirtd', ['-d', '-f', conf, '-p', PID_FILES.libvirtd]);
  services.push('libvirtd');
  for (const service of services) {
    const pid = await waitFor(`${service}'s pid`, () => pidOf(service), { timeoutMs: 10_000 });
    await writeFile(join(REGISTER, service), String(pid));
  }
  return services;
}

/**
 * libvirtd is killed with a SIGKILL, whatever it is at, and `down` later started again. Only one
 * that a lab has started; answers whether it was.
 */
export function killLibvirtd(dir: string, down: () => Promise<unknown>): Promise<boolean> {
  return locked(async () => {
    const pid = Number(await readFile(join(REGISTER, 'libvirtd'), 'utf8').catch(() => '0'));
    if (pid === 0 || pid !== (await pidOf('libvirtd'))) return false;
    process.kill(pid, 'SIGKILL');
    await waitFor('libvirtd to be gone', () => !alive(pid), { timeoutMs: 5_000, everyMs: 10 });
    await down();
    await startMissing(dir);
    await waitFor('libvirtd', answers, { timeoutMs: 30_000, everyMs: 50 });
    return true;
  });
}

export type Hook = AsyncDisposable;

/**
 * From now on libvirtd asks the program before it starts a guest, whoever's it is, as one of
 * several (hooks/qemu.d, since libvirt 6.5). It looks for hooks when it starts, and on a SIGHUP.
 */
export async function askHook(program: string, environment: Record<string, string>): Promise<Hook> {
  const file = join(HOOKS, `ck-lab-${process.pid}-${Math.random().toString(36).slice(2, 8)}`);
  const settings = Object.entries(environment).map(([key, value]) => `${key}='${value}'`);
  await mkdir(HOOKS, { recursive: true });
  await writeFile(file, `#!/bin/sh\nexec env ${settings.join(' ')} ${program} "$@"\n`, {
    mode: 0o755,
  });
  const reload = async () => {
    const pid = await pidOf('libvirtd');
    if (pid !== null) process.kill(pid, 'SIGHUP');
    await waitFor('libvirtd', answers, { timeoutMs: 30_000, everyMs: 50 });
  };
  await reload();
  return {
    [Symbol.asyncDispose]: async () => {
      await rm(file, { force: true });
      await reload();
    },
  };
}

/** The last lab out stops what a lab, this or another, started; by pid and only that pid. */
async function leave(mine: string): Promise<void> {
  await rm(mine, { force: true });
  if ((await users()).length > 0) return;
  for (const service of ['libvirtd', 'virtlogd'] as const) {
    const note = join(REGISTER, service);
    const pid = Number(await readFile(note, 'utf8').catch(() => '0'));
    await rm(note, { force: true });
    if (pid === 0 || pid !== (await pidOf(service))) continue;
    process.kill(pid, 'SIGTERM');
    await waitFor(`${service} to stop`, () => !alive(pid), { timeoutMs: 15_000, everyMs: 50 });
  }
}

/** Labs still there; what a killed test run left registered does not count. */
async function users(): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(REGISTER)) {
    const pid = /^user-(\d+)-/.exec(name)?.[1];
    if (pid === undefined) continue;
    if (alive(Number(pid))) found.push(name);
    else await rm(join(REGISTER, name), { force: true });
  }
  return found;
}

const answers = () => virsh('version').then(Boolean, () => false);

/**
 * The pid of the running service, found by what it executes, since anybody may have started
 * it; one in another mount namespace has another socket and is none of ours.
 */
async function pidOf(service: Service): Promise<number | null> {
  const noted = Number(await readFile(PID_FILES[service], 'utf8').catch(() => '0'));
  if (await isService(noted, service)) return noted;
  for (const entry of await readdir('/proc')) {
    if (/^\d+$/.test(entry) && (await isService(Number(entry), service))) return Number(entry);
  }
  return null;
}

async function isService(pid: number, service: Service): Promise<boolean> {
  if (pid === 0 || !alive(pid)) return false;
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
  return name.trim() === service && (await namespaceOf(pid)) === (await namespaceOf('self'));
}

const namespaceOf = (pid: number | 'self') => readlink(`/proc/${pid}/ns/mnt`).catch(() => null);

/** One lab at a time; a lock whose holder died is broken. */
async function locked<T>(work: () => Promise<T>): Promise<T> {
  const lock = join(REGISTER, 'lock');
  await mkdir(REGISTER, { recursive: true });
  for (const deadline = Date.now() + 60_000; ; await sleep(50)) {
    try {
      await writeFile(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = Number(await readFile(lock, 'utf8').catch(() => '0'));
      const made = await stat(lock).then(
        ({ mtimeMs }) => mtimeMs,
        () => Date.now(),
      );
      // One that was killed before it had written its pid leaves an empty file.
      const dead = holder > 0 ? !alive(holder) : Date.now() - made > 5_000;
      if (dead) await rm(lock, { force: true });
      if (Date.now() > deadline) throw new Error(`${lock} is held by process ${holder}`);
    }
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}
