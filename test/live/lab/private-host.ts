/**
 * This machine with an /etc, a /var/lib and a /run of its own, for what has its place there and
 * nowhere else: libvirt's hooks, Nova's configuration, ours, our journal and our socket. Everybody
 * else's stays as it is, and libvirt is the one that all have.
 */
import { join } from 'node:path';
import { Daemon, run, tail, waitFor } from './processes.ts';

const MOUNTS = `set -e
mount -t tmpfs none "$0"
mkdir "$0/etc" "$0/lib" "$0/etc-work" "$0/lib-work" "$0/run"
mount -t overlay none -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/etc-work" /etc
mount -t overlay none -o "lowerdir=/var/lib,upperdir=$0/lib,workdir=$0/lib-work" /var/lib
mount --rbind /run "$0/run"
mount -t tmpfs none /run
mkdir /run/libvirt
mount --bind "$0/run/libvirt" /run/libvirt
echo ready
exec sleep infinity`;

export class PrivateHost implements AsyncDisposable {
  readonly #holder: Daemon;
  readonly #path: string;

  private constructor(holder: Daemon, path: string) {
    this.#holder = holder;
    this.#path = path;
  }

  /** `dir` is where the changes are mounted; `path` comes first where commands are looked for. */
  static async open(dir: string, path: string): Promise<PrivateHost> {
    const log = join(dir, 'private-host.log');
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', MOUNTS, join(dir, 'private')];
    await run('mkdir', ['-p', join(dir, 'private')]);
    const holder = Daemon.start('private-host', 'unshare', args, { log });
    await waitFor('a host of our own', () => {
      holder.mustRun();
      return Promise.resolve(tail(log).includes('ready'));
    });
    return new PrivateHost(holder, path);
  }

  /** What a person types there, in the folder of this checkout. */
  type(command: string, input = ''): Promise<string> {
    const line = `cd "$0" && PATH="$1:$PATH" && ${command}`;
    const at = ['--mount', '--target', String(this.#holder.pid)];
    const args = [...at, '/bin/sh', '-c', line, process.cwd(), this.#path];
    return run('nsenter', args, { input });
  }

  write(path: string, text: string): Promise<string> {
    return this.type(`mkdir -p "$(dirname '${path}')" && cat > '${path}'`, text);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#holder.stop();
  }
}
