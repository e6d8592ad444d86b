import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * A libvirtd of the test's own, which it may freeze, kill and start again. It lives in a mount
 * namespace where libvirt's state directories are empty, so that it and the machine's own do not
 * see each other's guests; its socket is outside, in a directory of its own.
 */
export class PrivateDaemon implements AsyncDisposable {
  readonly dir: string;
  readonly uri: string;
  readonly #holder: ChildProcess;
  #daemon: ChildProcess | null = null;

  static async start(): Promise<PrivateDaemon> {
    const dir = await mkdtemp(join(tmpdir(), 'ck-libvirtd-'));
    await mkdir(join(dir, 'etc'));
    await writeFile(join(dir, 'libvirtd.conf'), libvirtdConf(dir));
    await writeFile(join(dir, 'etc', 'qemu.conf'), QEMU_CONF);
    const holder = spawn('unshare', ['--mount', 'sh', '-c', namespace(dir)], { stdio: 'ignore' });
    const daemon = new PrivateDaemon(dir, holder);
    await until(async () => (await readFile(join(dir, 'ready'), 'utf8')) !== '');
    await daemon.launch();
    return daemon;
  }

  private constructor(dir: string, holder: ChildProcess) {
    this.dir = dir;
    this.uri = `qemu+unix:///system?socket=${dir}/libvirt-sock`;
    this.#holder = holder;
  }

  async launch(): Promise<void> {
    const libvirtd = ['libvirtd', '-f', `${this.dir}/libvirtd.conf`, '-p', `${this.dir}/pid`];
    const into = ['-m', '-t', String(this.#holder.pid), ...libvirtd];
    this.#daemon = spawn('nsenter', into, { stdio: 'ignore' });
    await until(() => this.virsh('version'));
  }

  /** SIGSTOP and SIGCONT freeze and thaw it; after SIGTERM and SIGKILL wait for `gone`. */
  signal(name: NodeJS.Signals): void {
    this.#daemon?.kill(name);
  }

  async gone(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon && daemon.exitCode === null && daemon.signalCode === null) {
      await new Promise((resolve) => daemon.once('exit', resolve));
    }
  }

  async virsh(...args: string[]): Promise<string> {
    return (await run('virsh', ['-q', '-c', this.uri, ...args], { timeout: 60_000 })).stdout;
  }

  /** A paused guest whose vda is a chain of `depth` overlays on a raw file; answers its uuid. */
  async guest(name: string, depth: number, sizeMiB = 8): Promise<string> {
    const layer = (at: number) => join(this.dir, at === 0 ? `${name}-v` : `${name}-s${at}`);
    await run('qemu-img', ['create', '-q', '-f', 'raw', layer(0), `${sizeMiB}M`]);
    for (let at = 1; at <= depth; at += 1) {
      const format = at === 1 ? 'raw' : 'qcow2';
      const backing = ['-b', layer(at - 1), '-F', format];
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, layer(at)]);
      await run('qemu-io', ['-c', `write -q -P ${at} ${at}M 1M`, layer(at)]);
    }
    const xml = join(this.dir, `${name}.xml`);
    await writeFile(xml, domainXml(name, layer(depth), depth === 0 ? 'raw' : 'qcow2'));
    await this.virsh('create', '--paused', xml);
    return (await this.virsh('domuuid', name)).trim();
  }

  /** An empty qcow2 file over a qcow2 one, as Cinder prepares it. */
  async overlay(file: string, backing: string): Promise<void> {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backing, '-F', 'qcow2', file]);
  }

  /** The process ids of its QEMUs, or of one guest's, from where libvirtd keeps them. */
  async qemus(guest?: string): Promise<number[]> {
    const dir = `/proc/${this.#holder.pid}/root/run/libvirt/qemu`;
    const files = (await readdir(dir).catch(() => [])).filter(
      (file) => /^(?!driver).*\.pid$/.test(file) && (!guest || file === `${guest}.pid`),
    );
    const texts = await Promise.all(files.map((file) => readFile(join(dir, file), 'utf8')));
    return texts.map(Number).filter((pid) => pid > 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of await this.qemus()) kill(pid);
    this.signal('SIGKILL');
    await this.gone();
    this.#holder.kill('SIGKILL');
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Until it neither throws nor answers false; at most 60 s. */
export async function until(probe: () => Promise<unknown>): Promise<void> {
  for (const end = Date.now() + 60_000; ; await sleep(50)) {
    const seen = await probe().catch((error) => (Date.now() > end ? Promise.reject(error) : false));
    if (seen !== false) return;
    if (Date.now() > end) throw new Error('it never came true');
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

const libvirtdConf = (dir: string) => `unix_sock_dir = "${dir}"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:${dir}/log"
`;

const QEMU_CONF = `user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
`;

const namespace = (dir: string) => `set -e
for at in /run/libvirt /var/lib/libvirt; do
  # Where no libvirtd has run yet the first is not there.
  mkdir -p $at
  mount -t tmpfs tmpfs $at
done
mount --bind ${dir}/etc /etc/libvirt
echo yes >${dir}/ready
exec sleep infinity`;

const domainXml = (name: string, file: string, format: string) => `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='${file}'/>
      <target dev='vda' bus='virtio'/>
      <serial>serial-of-${name}</serial>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='scsi'/><readonly/></disk>
  </devices>
</domain>
`;
