/** For live tests that are about libvirt: real guests, a service, and a Cinder of a few lines. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { type Lab, openLab } from './lab/lab.ts';
import { RememberedVolumes } from './remembered-volumes.ts';
import { askCreate } from './requests.ts';
import { type Place, place } from './service.ts';

const MIB = 1024 * 1024;
/** Nobody listens there: whoever asks a real Cinder after all gets no answer. */
const NO_CINDER = 'http://127.0.0.1:9';

/**
 * What a file of such tests shares: opened before the first of them, closed after the last.
 * `more` goes into the service's configuration file.
 */
export function stageWithoutCinder(more = '') {
  const volumes = new RememberedVolumes();
  const withoutCinder = wrapped(TOKEN.volumes, () => volumes);
  let opened: { readonly lab: Lab<null>; readonly at: Place } | null = null;
  beforeAll(async () => {
    const lab = await openLab({ cinder: false });
    opened = { lab, at: await place(join(lab.dir, 'chainkeeper'), NO_CINDER, more) };
  });
  afterAll(() => opened?.lab[Symbol.asyncDispose]());
  const stage = () => opened ?? notYet();
  /** A persistent guest on an attached raw volume of 16 MiB, a quarter of it written. */
  const guestOnRaw = async () => {
    const volume = randomUUID() as VolumeId;
    const base = `volume-${volume}`;
    const { images } = stage().lab;
    const path = (name: string) => join(images, name);
    await createImage(path(base), { format: 'raw', size: 16 * MIB });
    const disks = [{ path: path(base), format: 'raw', serial: volume }];
    const guest = await stage().lab.guest({ disks, persistent: true });
    volumes.attach(volume, guest.uuid);
    await guest.write('vda', 0, 4 * MIB, 0x10);
    return { volume, base, path, guest };
  };
  /** Takes a snapshot as Cinder would, on the file `below`; answers the overlay that is in use. */
  const taken = async (of: Volume, below: string) => {
    const { volume, path } = of;
    const base = `volume-${volume}`;
    const id = volumes.put(volume, 'creating');
    const file = `${base}.${id}`;
    await createOverlay(path(file), { name: below, format: below === base ? 'raw' : 'qcow2' });
    expect(await askCreate(stage().at, volume, id, file)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    return file;
  };
  return {
    volumes,
    withoutCinder,
    guestOnRaw,
    taken,
    get lab() {
      return stage().lab;
    },
    get at() {
      return stage().at;
    },
  };
}

interface Volume {
  readonly volume: VolumeId;
  readonly path: (name: string) => string;
}

function notYet(): never {
  throw new Error('the lab is opened before the first test');
}
