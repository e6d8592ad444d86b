/**
 * Encrypted volumes as Cinder's NFS driver makes them: one passphrase for a volume and all its
 * overlays, and libvirt's secret for it as Nova defines it.
 */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ImageFormat, imageInfo } from './images.ts';
import { virsh } from './libvirt.ts';
import { run } from './processes.ts';

/** What Cinder takes from a volume type's cipher; the fewest rounds of key stretching there are. */
const CIPHER =
  'encrypt.cipher-alg=aes-256,encrypt.cipher-mode=xts,encrypt.ivgen-alg=plain64,' +
  'encrypt.iter-time=10';

/**
 * qemu-img create, of a file with LUKS. How many rounds of key stretching fit into the time is
 * measured by the CPU time of a thread, which now and then is not seen to move (QEMU 7.2).
 */
export async function createWithLuks(args: readonly string[]): Promise<void> {
  for (let more = 5; ; more--) {
    try {
      await run('qemu-img', ['create', ...args]);
      return;
    } catch (error) {
      if (more === 0 || !/Unable to get accurate CPU usage/.test(String(error))) throw error;
    }
  }
}

export class Passphrase implements AsyncDisposable {
  /** By which libvirt knows it. */
  readonly uuid = randomUUID();
  readonly #dir: string;
  readonly #words: string;
  readonly #file: string;

  private constructor(dir: string) {
    this.#dir = dir;
    // Cinder's is the hex of a key (remotefs.py, _do_create_snapshot).
    this.#words = randomUUID().replaceAll('-', '');
    this.#file = join(dir, `luks_${this.uuid}`);
  }

  static async made(dir: string): Promise<Passphrase> {
    const made = new Passphrase(dir);
    await writeFile(made.#file, made.#words, { mode: 0o600 });
    await made.tellLibvirt();
    return made;
  }

  /** As Nova does: ephemeral and private, so that nobody gets it out of libvirt again. */
  async tellLibvirt(): Promise<void> {
    const file = join(this.#dir, `secret-${this.uuid}.xml`);
    await writeFile(
      file,
      `<secret ephemeral='yes' private='yes'><uuid>${this.uuid}</uuid>
        <usage type='volume'><volume>${this.uuid}</volume></usage></secret>`,
    );
    await virsh('secret-define', file);
    await rm(file);
    const value = Buffer.from(this.#words).toString('base64');
    await virsh('secret-set-value', this.uuid, '--base64', value);
  }

  /** As after a restart of the host: Nova's secrets are ephemeral. */
  async forget(): Promise<void> {
    await virsh('secret-undefine', this.uuid);
  }

  /** What a disk's XML says of it. */
  get xml(): string {
    const secret = `<secret type='passphrase' uuid='${this.uuid}'/>`;
    return `<encryption format='luks'>${secret}</encryption>`;
  }

  /**
   * qcow2 with LUKS inside (_create_encrypted_volume_file), or LUKS and nothing around it; with a
   * name in its header that nobody looks at.
   */
  async createVolume(
    path: string,
    format: 'qcow2' | 'raw',
    bytes: number,
    backing: { readonly name: string; readonly format: string } | null = null,
  ): Promise<void> {
    const raw = ['-f', 'luks', '-o', 'key-secret=s1,iter-time=10'];
    const qcow2 = ['-f', 'qcow2', '-o', `encrypt.format=luks,encrypt.key-secret=s1,${CIPHER}`];
    const how = format === 'raw' ? raw : qcow2;
    const on = backing === null ? [] : ['-u', '-b', backing.name, '-F', backing.format];
    await createWithLuks(['-q', ...how, ...on, ...this.#as('s1'), path, String(bytes)]);
  }

  /**
   * The two commands of _do_create_snapshot. `-F` in the first one came in January 2026 (LP
   * 2138330): since 6.1 qemu-img refuses to do without, so that older Cinders make no overlay at
   * all. Of a raw volume Cinder gets none made either, as it says `qcow2` whatever it is.
   */
  async createOverlay(
    path: string,
    below: { readonly path: string; readonly name: string; readonly format: 'qcow2' | 'raw' },
  ): Promise<void> {
    const file = { driver: 'file', filename: below.path };
    const backing =
      below.format === 'raw'
        ? { driver: 'luks', 'key-secret': 's0', file }
        : { driver: 'qcow2', 'encrypt.key-secret': 's0', file };
    await createWithLuks([
      ...['-q', '-f', 'qcow2'],
      ...['-o', `encrypt.format=luks,encrypt.key-secret=s1,${CIPHER}`],
      ...['-b', `json:${JSON.stringify(backing)}`],
      ...['-F', below.format === 'raw' ? 'luks' : 'qcow2'],
      ...[...this.#as('s0'), ...this.#as('s1'), path],
    ]);
    await run('qemu-img', [
      ...['rebase', ...this.#as('s0'), '--image-opts'],
      `encrypt.key-secret=s0,file.filename=${path}`,
      ...['-u', '-b', below.name, '-F', below.format],
    ]);
  }

  /** What Cinder 21.3.1 runs first of all, to the word: without `-F`. */
  async createOverlayAsCinder21(path: string, below: string): Promise<void> {
    const file = { driver: 'file', filename: below };
    const keys = { 'encrypt.key-secret': 's0', 'backing.encrypt.key-secret': 's0' };
    const backing = { driver: 'qcow2', ...keys, 'backing.file.filename': below, file };
    await createWithLuks([
      ...['-fqcow2', '-o', `encrypt.format=luks,encrypt.key-secret=s1,${CIPHER}`],
      ...['-b', `json:${JSON.stringify(backing)}`, ...this.#as('s0'), ...this.#as('s1'), path],
    ]);
  }

  /** qemu-io on a volume without snapshots that no guest has open. */
  async io(path: string, format: 'qcow2' | 'raw', ...commands: string[]): Promise<void> {
    const opened =
      format === 'raw'
        ? `driver=luks,key-secret=s0,file.filename=${path}`
        : `driver=qcow2,encrypt.key-secret=s0,file.filename=${path}`;
    const all = commands.flatMap((command) => ['-c', command]);
    const said = await run('qemu-io', [...this.#as('s0'), '--image-opts', opened, ...all]);
    if (/failed|error/i.test(said)) throw new Error(said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget().catch(() => {});
    await rm(this.#file, { force: true });
  }

  #as(id: string): string[] {
    return ['--object', `secret,id=${id},format=raw,file=${this.#file}`];
  }
}

/** Backing name, backing format, virtual size and whether it is encrypted, by qemu-img. */
export async function saysOf(path: string, format: ImageFormat = 'qcow2') {
  const info = await imageInfo(path, format);
  return {
    backing: info['backing-filename'] ?? null,
    format: info['backing-filename-format'] ?? null,
    size: info['virtual-size'],
  };
}
