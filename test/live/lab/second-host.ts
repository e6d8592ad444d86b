/**
 * Another compute host, as far as guests can tell: a libvirtd with a mount and a UTS namespace of
 * its own on this machine, which shares the images. Guests can be migrated there and back.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LIBVIRT_URI } from './libvirt.ts';
import { Daemon, run, waitFor } from './processes.ts';

/** Where libvirt keeps what belongs to a host. */
const PLACES = {
  run: '/run/libvirt',
  lib: '/var/lib/libvirt',
  log: '/var/log/libvirt',
  etc: '/etc/libvirt/qemu',
} as const;

/** Of those that Nova uses, and without TLS; images of QEMU's default cache mode are `unsafe`. */
const MIGRATE = ['migrate', '--live', '--persistent', '--unsafe'];
const TO_HERE = ['--migrateuri', 'tcp://127.0.0.1'];

export class SecondHost implements AsyncDisposable {
  readonly uri: string;
  readonly #daemon: Daemon;

  private constructor(uri: string, daemon: Daemon) {
    this.uri = uri;
    this.#daemon = daemon;
  }

  /** `dir` is the lab's. */
  static async start(dir: string): Promise<SecondHost> {
    const home = join(dir, 'second-host');
    const mounts: string[] = [];
    for (const [name, place] of Object.entries(PLACES)) {
      await mkdir(join(home, name), { recursive: true });
      mounts.push(`mount --bind ${join(home, name)} ${place}`);
    }
    // Its name and its UUID must be others: libvirt migrates no guest to the host that it is on.
    const conf = join(home, 'libvirtd.conf');
    const log = `log_outputs="3:file:${join(home, 'libvirtd.log')}"`;
    const auth = 'auth_unix_ro = "none"\nauth_unix_rw = "none"';
    await writeFile(conf, `${log}\n${auth}\nhost_uuid = "5ec04d00-0000-4000-8000-000000000002"\n`);
    // No virtlogd, and control groups named as the first host names them are left to it.
    const qemu = join(home, 'qemu.conf');
    await writeFile(qemu, 'stdio_handler = "file"\ncgroup_controllers = [ ]\n');
    mounts.push(`mount --bind ${qemu} /etc/libvirt/qemu.conf`);
    const pid = join(home, 'libvirtd.pid');
    const script = ['hostname second-host', ...mounts, `exec libvirtd -f ${conf} -p ${pid}`];
    const args = ['-m', '-u', '--propagation', 'private', 'sh', '-ec', script.join('; ')];
    const options = { log: join(home, 'out.log') };
    const daemon = Daemon.start('the second libvirtd', 'unshare', args, options);
    const uri = `qemu+unix:///system?socket=${join(home, 'run', 'libvirt-sock')}`;
    const host = new SecondHost(uri, daemon);
    try {
      await waitFor('the second libvirtd', () => {
        daemon.mustRun();
        return host.virsh('version').then(Boolean, () => false);
      });
    } catch (error) {
      await daemon.stop();
      throw error;
    }
    return host;
  }

  virsh(...args: string[]): Promise<string> {
    return run('virsh', ['-q', '-c', this.uri, ...args]);
  }

  /** A live migration to here; `stays`: the first host keeps its configuration. */
  async fetch(name: string, { stays = false } = {}): Promise<void> {
    const leave = stays ? [] : ['--undefinesource'];
    await run('virsh', ['-q', '-c', LIBVIRT_URI, ...MIGRATE, ...leave, name, this.uri, ...TO_HERE]);
  }

  /** And back. */
  async giveBack(name: string): Promise<void> {
    await this.virsh(...MIGRATE, '--undefinesource', name, LIBVIRT_URI, ...TO_HERE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of (await this.virsh('list', '--name')).split('\n').filter(Boolean)) {
      await this.virsh('destroy', name);
    }
    await this.#daemon.stop();
  }
}
