/**
 * A Debian of this machine's release as it is right after its installation, with systemd as PID 1:
 * a folder and a container of its own, on the network of this machine. Units run in it as they do
 * on a host, hardening and all.
 */
import { chmod, mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { unmount } from './cinder.ts';
import { Daemon, Gone, removeFolder, run, tail, waitFor } from './processes.ts';

export interface CleanDebianOptions {
  /** A folder of its own. */
  readonly dir: string;
  /** Folders of this machine, and where they are mounted. */
  readonly mounts?: Readonly<Record<string, string>>;
}

export interface Said {
  readonly code: number;
  /** stdout and stderr as they came. */
  readonly text: string;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export class CleanDebian implements AsyncDisposable {
  /** Its file system, seen from here. */
  readonly root: string;
  readonly #dir: string;
  readonly #nspawn: Daemon;
  readonly #init: number;

  private constructor(dir: string, nspawn: Daemon, init: number) {
    this.#dir = dir;
    this.root = rootOf(dir);
    this.#nspawn = nspawn;
    this.#init = init;
  }

  /** Bootstraps it and boots it; it serves when this returns. */
  static async start({ dir, mounts = {} }: CleanDebianOptions): Promise<CleanDebian> {
    const root = rootOf(dir);
    await mkdir(dir, { recursive: true });
    await bootstrap(dir, root);
    const log = join(dir, 'nspawn.log');
    const binds = Object.entries(mounts).map(([from, to]) => `--bind=${from}:${to}`);
    const args = ['-D', root, '--boot', '--register=no', '--keep-unit', '--console=pipe'];
    const net = ['--resolv-conf=replace-host'];
    const env = { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' };
    const nspawn = Daemon.start('nspawn', 'systemd-nspawn', [...args, ...net, ...binds], {
      log,
      env,
    });
    try {
      return await waitFor('systemd to be up', async () => {
        if (!nspawn.running) throw new Gone(tail(log));
        // Its first child makes the container and ends: that one is not PID 1.
        const init = await childOf(nspawn.pid);
        if (init === null) return null;
        const debian = new CleanDebian(dir, nspawn, init);
        const { text } = await debian.run('systemctl is-system-running');
        return /^(running|degraded)$/m.test(text) ? debian : null;
      });
    } catch (error) {
      await end(dir, nspawn, null);
      throw error;
    }
  }

  /** A script of bash, as root in /root; `env` beside what a login has. */
  async run(script: string, env: Readonly<Record<string, string>> = {}): Promise<Said> {
    const known = { PATH, HOME: '/root', LANG: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };
    const set = Object.entries({ ...known, ...env }).map(([name, value]) => `${name}=${value}`);
    const enter = ['nsenter', '-t', `${this.#init}`, '-m', '-u', '-i', '-n', '-p', '-C'];
    const shell = ['/bin/bash', '-c', `cd /root; exec 2>&1; (\n${script}\n); echo "$?"`];
    const said = await run('env', ['-i', ...set, ...enter, ...shell], { timeoutMs: 600_000 });
    const [, text = '', code = '1'] = /^([\s\S]*?)(\d+)\n$/.exec(said) ?? [];
    return { code: Number(code), text };
  }

  /** The same, for what must succeed; returns what it said. */
  async must(script: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, text } = await this.run(script, env);
    if (code !== 0) throw new Error(`${script}\nexit ${code}\n${text}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#dir, this.#nspawn, this.#init);
  }
}

function rootOf(dir: string): string {
  return join(dir, `debian-${basename(dir)}`);
}

/** nspawn kills all in it when it ends. What it keeps in /run is by the name of the folder. */
async function end(dir: string, nspawn: Daemon, init: number | null): Promise<void> {
  const groups = init === null ? [] : await groupsOf(init).catch(() => []);
  await nspawn.stop(10_000);
  for (const line of (await readFile('/proc/mounts', 'utf8')).split('\n')) {
    const mount = line.split(' ')[1];
    if (mount?.startsWith(`${rootOf(dir)}/`)) await unmount(mount);
  }
  await removeFolder(rootOf(dir));
  const kept = `/run/systemd/nspawn/propagate/${basename(rootOf(dir))}`;
  await rm(kept, { recursive: true, force: true });
  for (const group of groups) await rmdir(group).catch(() => {}); // not empty: another's
}

/** The control groups of the container, those inside others first. */
async function groupsOf(init: number): Promise<readonly string[]> {
  const [, path = ''] = /^0::(.*)$/m.exec(await readFile(`/proc/${init}/cgroup`, 'utf8')) ?? [];
  const mounts = await readFile('/proc/mounts', 'utf8');
  const [, mount = ''] = /^\S+ (\S+) cgroup2 /m.exec(mounts) ?? [];
  // PID 1 is in init.scope of the payload, and nspawn itself in a group beside that.
  const payload = dirname(join(mount, path));
  if (mount === '' || basename(payload) !== 'payload') return [];
  const inside = await readdir(payload, { recursive: true, withFileTypes: true });
  const folders = inside.filter((it) => it.isDirectory());
  const all = folders
    .map((it) => join(it.parentPath, it.name))
    .toSorted()
    .toReversed();
  return [...all, payload, join(dirname(payload), 'supervisor')];
}

/** From the mirror that this machine's apt is configured with, and by its rules. */
async function bootstrap(dir: string, root: string): Promise<void> {
  const { VERSION_CODENAME: release = '' } = await osRelease();
  const format = '$(CREATED_BY) $(ORIGIN) $(CODENAME) deb $(REPO_URI) $(RELEASE) $(COMPONENT)';
  const known = await run('apt-get', ['indextargets', '--format', format]);
  const ours = new RegExp(`^Packages Debian ${release}\\S* (deb .*)$`, 'gm');
  const sources = [...new Set([...known.matchAll(ours)].map(([, line = '']) => line))];
  if (sources.length === 0) throw new Error(`apt knows no archive of Debian ${release}`);
  const all = await run('apt-config', ['dump', '--format', '%f "%v";%n', 'Acquire']);
  const rules = all.match(/^Acquire::(Check-|Retries|https?(::|\b)).*$/gm) ?? [];
  const options = join(dir, 'apt.conf');
  await writeFile(options, rules.map((rule) => `${rule}\n`).join(''));
  const what = ['--variant=minbase', '--include=systemd-sysv,dbus', `--aptopt=${options}`];
  await run('mmdebstrap', [...what, release, root, ...sources], { timeoutMs: 600_000 });
  await chmod(root, 0o755);
}

async function osRelease(): Promise<Record<string, string>> {
  const text = await readFile('/etc/os-release', 'utf8');
  return Object.fromEntries(
    [...text.matchAll(/^(\w+)="?(.*?)"?$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
}

async function childOf(pid: number): Promise<number | null> {
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const children = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8');
    const [first] = children.trim().split(' ');
    if (first) return Number(first);
  }
  return null;
}
