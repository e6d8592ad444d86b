/**
 * This machine with an /etc of its own, for what has its place there and nowhere else: libvirt's
 * hooks, Nova's configuration, ours. Everybody else's stays as it is.
 */
import { join } from 'node:path';
import { Daemon, run, tail, waitFor } from './processes.ts';

const MOUNTS =
  'mount -t tmpfs none "$0" && mkdir "$0/upper" "$0/work" && mount -t overlay none ' +
  '-o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc && echo ready && exec sleep infinity';

export class PrivateEtc implements AsyncDisposable {
  readonly #holder: Daemon;
  readonly #path: string;

  private constructor(holder: Daemon, path: string) {
    this.#holder = holder;
    this.#path = path;
  }

  /** `dir` is where the changes are mounted; `path` comes first where commands are looked for. */
  static async open(dir: string, path: string): Promise<PrivateEtc> {
    const log = join(dir, 'private-etc.log');
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', MOUNTS, join(dir, 'etc')];
    await run('mkdir', ['-p', join(dir, 'etc')]);
    const holder = Daemon.start('private-etc', 'unshare', args, { log });
    await waitFor('an /etc of our own', () => {
      holder.mustRun();
      return Promise.resolve(tail(log).includes('ready'));
    });
    return new PrivateEtc(holder, path);
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
