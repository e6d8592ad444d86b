/**
 * Real, unmodified components in one fresh folder: libvirtd and QEMU, and on request RabbitMQ
 * and Cinder. `await using lab = await openLab({ cinder: true })`: when it goes out of scope,
 * guests, daemons, mounts and the folder are gone, whatever happened in between.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cinder, startCinder } from './cinder.ts';
import type { Attached } from './cinder-client.ts';
import type { ApiFilter, VolumeDriver } from './cinder-conf.ts';
import { Guest, type GuestOptions } from './guest.ts';
import { type Libvirt, startLibvirt } from './libvirt.ts';
import { ensurePackages } from './packages.ts';
import { OWN_ID, removeFolder } from './processes.ts';
import { LAB_FOLDER, sweep } from './sweep.ts';

export interface LabOptions {
  readonly cinder: boolean;
  /** What Cinder calls instead of Nova; `lab.cinder.setNovaEndpoint` changes it (2 s). */
  readonly novaEndpoint?: string;
  /** In Cinder's REST API; left out it is stock. */
  readonly filter?: ApiFilter;
  /** Of Cinder's backend; left out it is the stock NfsDriver. */
  readonly driver?: VolumeDriver;
}

export interface Lab<C extends Cinder | null = Cinder | null> extends AsyncDisposable {
  readonly dir: string;
  /** A folder for images that QEMU's user can reach. */
  readonly images: string;
  readonly libvirt: Libvirt;
  readonly cinder: C;
  /** A started guest that goes when the lab goes, or earlier. */
  guest(options: GuestOptions): Promise<Guest>;
  /** Whatever else must be disposed before the lab's own parts are. */
  keep<T extends AsyncDisposable | Disposable>(it: T): T;
}

export interface AttachedGuest {
  readonly volumeId: string;
  readonly attached: Attached;
  readonly guest: Guest;
}

export function openLab(options: LabOptions & { cinder: true }): Promise<Lab<Cinder>>;
export function openLab(options: LabOptions & { cinder: false }): Promise<Lab<null>>;
export async function openLab(options: LabOptions): Promise<Lab> {
  await ensurePackages(options);
  await using parts = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), `${LAB_FOLDER}${OWN_ID}-`));
  parts.defer(() => removeFolder(dir));
  await chmod(dir, 0o755); // QEMU runs as libvirt-qemu
  const images = join(dir, 'images');
  await mkdir(images);
  await chmod(images, 0o755);

  // Together, and both awaited even if one fails: what did start must be stopped.
  const [libvirt, cinder] = await Promise.allSettled([
    startLibvirt(dir).then((it) => parts.use(it)),
    options.cinder ? openCinder(dir, options).then((it) => parts.use(it)) : null,
  ]);
  if (libvirt.status === 'rejected') throw libvirt.reason;
  if (cinder.status === 'rejected') throw cinder.reason;
  await sweep();
  return assemble(parts.move(), dir, images, libvirt.value, cinder.value);
}

/** What most end-to-end tests begin with: a volume, attached, and its guest started. */
export async function attachedGuest(
  lab: Lab<Cinder>,
  options: Omit<GuestOptions, 'disks'> & { readonly sizeGiB?: number } = {},
): Promise<AttachedGuest> {
  const { sizeGiB = 1, uuid = randomUUID(), ...rest } = options;
  const volumeId = await lab.cinder.createVolume(sizeGiB);
  const attached = await lab.cinder.attach(volumeId, uuid);
  const disk = { path: attached.path, format: attached.format, serial: volumeId };
  return { volumeId, attached, guest: await lab.guest({ ...rest, uuid, disks: [disk] }) };
}

function openCinder(dir: string, { novaEndpoint, filter, driver }: LabOptions): Promise<Cinder> {
  // Port 9 of the loopback (discard): nobody answers there, and Cinder is told so at once.
  return startCinder({
    dir: join(dir, 'cinder'),
    novaEndpoint: novaEndpoint ?? 'http://127.0.0.1:9/v2.1',
    ...(filter && { filter }),
    ...(driver && { driver }),
  });
}

function assemble(
  parts: AsyncDisposableStack,
  dir: string,
  images: string,
  libvirt: Libvirt,
  cinder: Cinder | null,
): Lab {
  const leave = async (signal: NodeJS.Signals) => {
    await close().catch((error) => console.error(error));
    process.kill(process.pid, signal); // now without our handler: the usual end
  };
  const close = async () => {
    for (const signal of SIGNALS) process.off(signal, leave);
    await parts.disposeAsync();
  };
  for (const signal of SIGNALS) process.once(signal, leave);
  return {
    dir,
    images,
    libvirt,
    cinder,
    guest: async (options) => parts.use(await Guest.started(options)),
    keep: (it) => parts.use(it),
    [Symbol.asyncDispose]: close,
  };
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
