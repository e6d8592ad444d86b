import { type FileName, type Format, fileName, QCOW2, RAW } from '#domain/ids.ts';

/** QEMU's default for qcow2, and the grain of everything here. */
export const CLUSTER_BYTES = 65536;

/**
 * One cluster of a file: not there, a zero cluster (which hides what is below), one byte over and
 * over, or bytes that a guest wrote so that they read as a qcow2 header. `GARBAGE` is what a
 * reader sees who takes a file of one format for another.
 */
export type Cluster = 'absent' | 'zero' | number | Header;
export const GARBAGE = -1;

/** QEMU's name for an encrypted volume without a qcow2 around it; libvirt calls it raw. */
export const LUKS = 'luks' as Format;

/** What a qcow2 header says, true or forged. `backing` as written: relative or absolute. */
export interface Header {
  readonly backing: string | null;
  readonly format: string | null;
  /** Virtual size in clusters. */
  readonly clusters: number;
  /** Incompatible feature bits: 1 dirty, 2 corrupt, 4 data file; QEMU 7.2 knows those up to 16. */
  readonly features: number;
}

/** A file as it is on disk, whatever a process that has it open still holds in memory. */
export interface SimFile {
  readonly name: FileName;
  /** Another file of the same name has another one. */
  readonly inode: string;
  /** What it was made as. Its bytes may say otherwise to whoever probes it. */
  readonly format: Format;
  /** Virtual size. */
  clusters: number;
  /** By the tables that are on disk. */
  readonly content: Cluster[];
  /**
   * Which of the file's own places each cluster's data is in, by the tables that are on disk. Only
   * a qcow2 file has places; a zero cluster may keep the one it had.
   */
  readonly places: Map<number, number>;
  /** Of a qcow2 file. */
  header: Header | null;
  /** What the machine lets QEMU do with it. */
  access: Access;
  /** Encrypted: who opens it without the key has the LUKS header and noise. */
  luks: boolean;
  /** How guests reach it when it is no local file to them: nbd, gluster, ... */
  readonly protocol: string | null;
}

/**
 * `forbidden`: mode 000, which keeps out QEMU's user, not root. `immutable`: `chattr +i`, which
 * keeps out whoever wants to write, and libvirt, which wants to change its owner. `folder`: it is
 * no file at all.
 */
export type Access = 'free' | 'forbidden' | 'immutable' | 'folder';

/** Over the one network that has named files, as of a folder. */
export const GLUSTER = 'gluster';
/** Its volume, as the hypervisor's XML and QEMU name it. */
const REMOTE = 'gluster://gluster-1:24007/volumes';

export interface NewFile {
  readonly format?: Format;
  readonly clusters?: number;
  readonly backing?: string | null;
  /** The backing format the header gives; null leaves it out, as old tools do. */
  readonly backingFormat?: string | null;
  readonly features?: number;
  readonly access?: Access;
  readonly luks?: boolean;
  readonly protocol?: string | null;
}

/** The directory in which Cinder keeps volumes: what outlives every process. */
export class SimShare {
  readonly directory: string;
  readonly files = new Map<FileName, SimFile>();
  /** What lies elsewhere on the host, by absolute path: one byte over and over. */
  readonly elsewhere = new Map<string, number>([['/etc/shadow', 0x53]]);
  /** Files that a QEMU has open, by how many nodes: it locks them. */
  readonly #users = new Map<SimFile, number>();
  #made = 0;
  /** Clusters that can still be allocated by block jobs; then the disk is full. */
  space: number = Number.POSITIVE_INFINITY;

  constructor(directory = '/var/lib/nova/mnt/5f4dcc3b') {
    this.directory = directory;
  }

  /** Makes a file, or empties the one of that name, as `qemu-img create` does. */
  create(name: FileName, made: NewFile = {}): SimFile {
    const { format = QCOW2, clusters = 8, backing = null, features = 0 } = made;
    const { backingFormat = null, access = 'free', luks = false, protocol = null } = made;
    const says = { backing, format: backingFormat, clusters, features };
    const header = format === QCOW2 && access !== 'folder' ? says : null;
    const content = Array<Cluster>(clusters).fill('absent');
    const bytes = { clusters, content, places: new Map() };
    const inode = String(++this.#made);
    const file = { name, inode, format, ...bytes, header, access, luks, protocol };
    this.files.set(name, file);
    return file;
  }

  file(name: FileName): SimFile | null {
    return this.files.get(name) ?? null;
  }

  /** Where a file with that protocol lies; null where there is nothing like a folder. */
  home(protocol: string | null): string | null {
    if (protocol === null) return this.directory;
    return protocol === GLUSTER ? REMOTE : null;
  }

  /** The file of that name, for who reaches it by that folder. */
  at(directory: string, name: FileName): SimFile | null {
    const file = this.file(name);
    return file !== null && this.home(file.protocol) === directory ? file : null;
  }

  /** What a backing name in a header leads to from this directory; links and `..` are not here. */
  behind(backing: string): SimFile | null {
    const inside = `${this.directory}/`;
    const bare = backing.startsWith(inside) ? backing.slice(inside.length) : backing;
    const name = fileName(bare);
    if (name !== null) return this.file(name);
    const byte = this.elsewhere.get(backing);
    if (byte === undefined) return null;
    const content = Array<Cluster>(8).fill(byte);
    const outside = backing.replaceAll('/', '_') as FileName;
    const bytes = { clusters: content.length, content, places: new Map() };
    const plain = { access: 'free', luks: false, protocol: null } as const;
    return { name: outside, inode: backing, format: RAW, ...bytes, header: null, ...plain };
  }

  /** What `qemu-img info` without a format says: the bytes decide, also a raw file's. */
  probe(file: SimFile): Format {
    if (file.luks && file.format === RAW) return LUKS;
    return forged(file) === null ? file.format : QCOW2;
  }

  lock(file: SimFile): void {
    this.#users.set(file, (this.#users.get(file) ?? 0) + 1);
  }

  unlock(file: SimFile): void {
    const users = (this.#users.get(file) ?? 0) - 1;
    if (users > 0) this.#users.set(file, users);
    else this.#users.delete(file);
  }

  isOpen(file: SimFile): boolean {
    return this.#users.has(file);
  }

  /** Whether QEMU's image lock keeps another one out: it locks no file over a network. */
  isLocked(file: SimFile): boolean {
    return file.protocol === null && this.isOpen(file);
  }

  users(file: SimFile): number {
    return this.#users.get(file) ?? 0;
  }

  /** Takes room for one more cluster; false when the disk is full. */
  take(): boolean {
    if (this.space <= 0) return false;
    this.space--;
    return true;
  }
}

/** The qcow2 header that a guest wrote into the first cluster of its raw, unencrypted file. */
export function forged(file: SimFile): Header | null {
  const first = file.content[0];
  return file.format === RAW && !file.luks && typeof first === 'object' ? first : null;
}
