import type { Fault, Refusal } from '#domain/failure.ts';
import { type FileName, type Format, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Dialect } from '#domain/status.ts';
import type { Answer, AssistedSnapshots } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import { SimCinder } from './cinder.ts';
import type { Assist } from './cinder-rows.ts';
import { SimDisk } from './disk.ts';
import { SimGuest } from './guest.ts';
import { SimHypervisor } from './hypervisor.ts';
import { SimShare } from './share.ts';
import { SimVolumes } from './volumes.ts';

export interface SimCloudOptions {
  readonly clock: Clock;
  /** Virtual size of the volume. */
  readonly clusters?: number;
  readonly baseFormat?: Format;
  /** Whether the volume is encrypted. */
  readonly luks?: boolean;
  readonly oldLibvirt?: boolean;
  readonly knows?: Dialect;
  readonly tickMs?: number;
  readonly clustersPerTick?: number;
}

/** A disk that Cinder made, of a guest of this host. */
export interface CloudDisk {
  readonly guest: SimGuest;
  readonly disk: SimDisk;
  readonly volume: VolumeId;
  readonly attachment: string;
  /** Encrypted as nobody does any more, or no local file to its guest. */
  readonly odd?: boolean;
}

/** A volume that is not just a local file in the clear. */
export interface VolumeKind {
  readonly format: Format;
  readonly luks?: boolean;
  /** What the guest's XML calls its encryption, when that is not LUKS. */
  readonly cipher?: string;
  /** How the guest reaches it. */
  readonly protocol?: string;
}

/** One running guest with one volume of Cinder's (`vdb`) beside its own root disk (`vda`). */
export class SimCloud {
  readonly clock: Clock;
  readonly share: SimShare;
  readonly hypervisor: SimHypervisor;
  readonly cinder: SimCinder;
  readonly volumes: SimVolumes;
  readonly guest: SimGuest;
  /** The disk that the volume is. */
  readonly disk: SimDisk;
  readonly root: SimDisk;
  readonly server: ServerId;
  readonly volume: VolumeId;
  readonly attachment: string;
  /** Every disk that Cinder made. */
  readonly disks: CloudDisk[];
  #api: AssistedSnapshots | null = null;
  /** Breaks the calls that are under way. */
  #hangUp = Promise.withResolvers<void>();

  constructor(options: SimCloudOptions) {
    const { clock, clusters = 8, baseFormat = RAW, luks = false, ...rest } = options;
    const { knows = 'stock', ...pace } = rest;
    this.clock = clock;
    this.share = new SimShare();
    this.server = clock.uuid() as ServerId;
    this.volume = clock.uuid() as VolumeId;
    const rootVolume = clock.uuid() as VolumeId;
    const base = `volume-${this.volume}` as FileName;
    const rootBase = `volume-${rootVolume}` as FileName;
    this.share.create(base, { format: baseFormat, clusters, luks });
    this.share.create(rootBase, { format: RAW, clusters });
    this.disk = new SimDisk(this.share, this.volume, 'vdb', base, baseFormat);
    this.root = new SimDisk(this.share, rootVolume, 'vda', rootBase, RAW);
    this.guest = new SimGuest(this.server, [this.root, this.disk]);
    for (const disk of this.guest.disks) disk.lateXml = pace.oldLibvirt ?? false;
    this.hypervisor = new SimHypervisor({ clock, guests: [this.guest], ...pace });
    const started = this.guest.start();
    if (!started.ok) throw new Error(started.error);
    this.cinder = new SimCinder({ clock, share: this.share, assist: this.#assist(), knows });
    const file = { name: base, clusters, format: baseFormat, encrypted: luks };
    this.attachment = this.cinder.attach({ id: this.volume, ...file }, this.server).id;
    const root = { id: rootVolume, name: rootBase, clusters, format: RAW };
    const { id } = this.cinder.attach(root, this.server);
    this.volumes = new SimVolumes(this.cinder);
    const { guest } = this;
    const own = { guest, disk: this.disk, volume: this.volume, attachment: this.attachment };
    this.disks = [own, { guest, disk: this.root, volume: rootVolume, attachment: id }];
  }

  /** One more guest, running, with one volume for each of the formats or kinds. */
  addGuest(kinds: readonly (Format | VolumeKind)[], clusters = 8): SimGuest {
    const { clock, share } = this;
    const server = clock.uuid() as ServerId;
    const made = kinds.map((kind, at) => {
      const id = clock.uuid() as VolumeId;
      const name = `volume-${id}` as FileName;
      const plain: VolumeKind = typeof kind === 'string' ? { format: kind } : kind;
      const { format, cipher = 'luks', ...rest } = plain;
      const { luks, protocol } = share.create(name, { format, clusters, ...rest });
      const target = `vd${'abcdefgh'[at]}`;
      const disk = new SimDisk(share, id, target, name, format);
      disk.lateXml = this.disk.lateXml;
      disk.cipher = cipher;
      const odd = cipher !== 'luks' || share.home(protocol) === null;
      return { disk, name, format, volume: id, encrypted: luks, odd };
    });
    const name = `instance-${String(this.hypervisor.guests.length + 1).padStart(8, '0')}`;
    const guest = new SimGuest(
      server,
      made.map(({ disk }) => disk),
      name,
    );
    this.hypervisor.guests.push(guest);
    const started = guest.start();
    if (!started.ok) throw new Error(started.error);
    for (const { disk, name: file, format, volume, encrypted, odd } of made) {
      const row = this.cinder.attach(
        { id: volume, name: file, clusters, format, encrypted },
        server,
      );
      this.disks.push({ guest, disk, volume, attachment: row.id, odd });
    }
    return guest;
  }

  /**
   * Whom Cinder calls for assistance; null is a service that is down. Calls that the one before
   * has not answered are broken off, as when a process dies.
   */
  serve(api: AssistedSnapshots | null): void {
    this.#api = api;
    this.#hangUp.resolve();
    this.#hangUp = Promise.withResolvers<void>();
  }

  /** The volume's chain as QEMU has it, the topmost first: one line per layer. */
  chainLines(): readonly string[] {
    const names = layers(this.disk);
    const width = Math.max(...names.map(({ file }) => short(file).length));
    return names.map(({ file, format }) => {
      const map = this.disk.map(file);
      return `${short(file).padEnd(width)}  ${(format ?? '?').padEnd(5)}  ${map}`;
    });
  }

  #assist(): Assist {
    const caller = () => ({ requestId: `req-${this.clock.uuid()}`, globalRequestId: null });
    const ask = async (call: (api: AssistedSnapshots) => Promise<Answer>) => {
      if (this.#api === null) return err('connection refused');
      const broken = this.#hangUp.promise.then(() => err('connection reset by peer'));
      return Promise.race([call(this.#api).then(said), broken]);
    };
    return {
      create: (request) => ask((api) => api.create(request, caller())),
      delete: (request) => ask((api) => api.delete(request, caller())),
    };
  }
}

function said(answer: Answer): Result<null, string> {
  if (answer.ok) return ok(null);
  const trouble = answer.error;
  const it: Refusal | Fault = trouble.kind === 'refused' ? trouble.refusal : trouble.fault;
  return err(`${trouble.kind}: ${JSON.stringify(it)}`);
}

function layers(disk: SimDisk) {
  const found: { file: FileName; format: Format | null }[] = [];
  let at = disk.top === null ? disk.xml : disk.chain();
  for (;;) {
    found.push({ file: at.file, format: at.format });
    if (at.on === null) return found;
    at = at.on;
  }
}

/** The first part of each UUID: names as people tell them apart. */
const short = (file: string): string =>
  file.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');
