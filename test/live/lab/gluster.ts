/**
 * A GlusterFS volume with one brick, and the namespaces that it and libvirtd need: glusterd takes
 * no loopback address, and the address that it gets instead is nobody else's business.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createImage, type ImageFormat } from './images.ts';
import { Daemon, run, tail, waitFor } from './processes.ts';

const HOST = '10.99.0.1';
const VOLUME = 'ck';
const INSIDE = 'CHAINKEEPER_LAB_NAMESPACES';

/** Every process in them ends with the first one, and what they mounted is gone then. */
const UNSHARE = ['--net', '--mount', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];

export const isInside = process.env[INSIDE] !== undefined;

export const canUnshare = (): boolean => spawnSync('unshare', [...UNSHARE, 'true']).status === 0;

/** Runs a file of live tests in namespaces of its own; its output, or an error that has it. */
export async function inNamespaces(file: string): Promise<string> {
  const vitest = join('node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--config', 'vitest.live.config.ts', file];
  // A shell comes first in there: whoever is that must reap what libvirtd and glusterd leave, or
  // libvirt waits 40 s for each QEMU that was killed.
  const shell = ['bash', '-c', '"$@"; exit $?', 'first', process.execPath];
  const child = spawn('unshare', [...UNSHARE, ...shell, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, [INSIDE]: '1', NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  const leave = () => child.kill('SIGKILL');
  process.on('exit', leave);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const [code] = await once(child, 'close');
  process.off('exit', leave);
  if (code !== 0) throw new Error(`in namespaces of its own:\n${said.slice(-30_000)}`);
  return said;
}

/** What the host's libvirtd and glusterd keep is out of the way of those in here. */
export async function furnish(): Promise<void> {
  if (!isInside) throw new Error('these are the namespaces of the host');
  const hidden = ['/run', '/etc/libvirt/qemu', '/var/log/glusterfs'];
  for (const folder of hidden) await run('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
  for (const folder of ['/run/libvirt', '/run/gluster']) await mkdir(folder);
  await mkdir('/var/log/glusterfs/bricks');
  const links = [
    ['link', 'set', 'lo', 'up'],
    ['link', 'add', 'gluster0', 'type', 'veth', 'peer', 'name', 'gluster1'],
    ['addr', 'add', `${HOST}/24`, 'dev', 'gluster0'],
    ['link', 'set', 'gluster0', 'up'],
    ['link', 'set', 'gluster1', 'up'],
  ];
  for (const words of links) await run('ip', words);
}

/** The volume as Cinder's GlusterFS driver had it: mounted, and by its name for QEMU. */
export class Gluster implements AsyncDisposable {
  readonly host = HOST;
  readonly port = 24007;
  readonly volume = VOLUME;
  /** Where it is mounted. */
  readonly mount: string;
  readonly #brick: string;
  readonly #daemon: Daemon;

  private constructor(mount: string, brick: string, daemon: Daemon) {
    this.mount = mount;
    this.#brick = brick;
    this.#daemon = daemon;
  }

  static async started(dir: string): Promise<Gluster> {
    const [state, brick, mount] = ['glusterd', 'brick', 'mount'].map((name) => join(dir, name));
    if (!state || !brick || !mount) throw new Error('no names');
    for (const folder of [state, brick, mount]) await mkdir(folder, { recursive: true });
    await chmod(brick, 0o777);
    const file = join(dir, 'glusterd.vol');
    await writeFile(file, volfile(state));
    const log = join(dir, 'glusterd.log');
    const args = ['-N', '-f', file, '-p', join(dir, 'glusterd.pid'), '-l', log];
    const daemon = Daemon.start('glusterd', 'glusterd', args, { log });
    const made = new Gluster(mount, brick, daemon);
    try {
      await waitFor('glusterd', () => gluster('pool', 'list'), { timeoutMs: 30_000 });
      await gluster('volume', 'create', VOLUME, `${HOST}:${brick}`, 'force');
      // QEMU's user, which libvirt leaves to own a file: it changes no owner over a network.
      const [uid, gid] = (await run('stat', ['-c', '%u %g', '/var/lib/libvirt/qemu'])).split(' ');
      await gluster('volume', 'set', VOLUME, 'storage.owner-uid', (uid ?? '').trim());
      await gluster('volume', 'set', VOLUME, 'storage.owner-gid', (gid ?? '').trim());
      await gluster('volume', 'start', VOLUME);
      await run('mount', ['-t', 'glusterfs', `${HOST}:/${VOLUME}`, mount]);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw new Error(`${error}\n${tail(log)}`);
    }
  }

  path = (name: string): string => join(this.mount, name);

  /** On the server. A mount shows for a while what it has read before. */
  stored = (name: string): string => join(this.#brick, name);

  /** What libvirt calls it. */
  nameOf = (file: string): string => `${VOLUME}/${file}`;

  /** As Cinder prepares one, and filled up to whole sectors: see `isCut` of the images adapter. */
  async overlay(name: string, below: string, format: ImageFormat, size: number): Promise<void> {
    await this.unfilled(name, below, format, size);
    await run('truncate', ['-s', '%512', this.path(name)]);
  }

  async unfilled(name: string, below: string, format: ImageFormat, size: number): Promise<void> {
    const backing = { name: below, format };
    await createImage(this.path(name), { format: 'qcow2', size, backing, checkBacking: false });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('umount', ['-l', this.mount]).catch(() => {});
    await gluster('volume', 'stop', VOLUME, 'force').catch(() => {});
    await this.#daemon.stop();
  }
}

const gluster = (...words: string[]): Promise<string> =>
  run('gluster', ['--mode=script', ...words], { timeoutMs: 60_000 });

const volfile = (state: string): string => `volume management
    type mgmt/glusterd
    option working-directory ${state}
    option transport-type socket
    option transport.socket.listen-port 24007
    option ping-timeout 0
    option event-threads 1
    option max-port 60999
end-volume
`;
