/**
 * A guest writes a qcow2 header to its raw volume, and Cinder works on the volume while the guest
 * runs and while it is off: stock Cinder with Nova's own driver, stock Cinder with us, and Cinder
 * with contrib/cinder's filter and volume driver. What the guest is started from is what Cinder's
 * attachment says, as Nova does it.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { parseHeader } from '#domain/qcow2.ts';
import { forge } from './forger.ts';
import type { Cinder } from './lab/cinder.ts';
import { headerOf } from './lab/images.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { startNova } from './nova/nova.ts';
import { inProcess, place, tellOnFailure } from './service.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Nothing is written behind it. */
const WRITTEN = 32 * MIB;
const FOLDER = join(import.meta.dirname, '../../contrib/cinder');
const OURS = {
  cinder: true,
  filter: {
    name: 'chainkeeper',
    factory: 'chainkeeper_api:SnapshotStatus.factory',
    folder: FOLDER,
  },
  driver: { name: 'chainkeeper_nfs.NfsDriver', folder: FOLDER },
} as const;

/** Cinder's formats and the guest's bytes, where a raw volume is taken for what its guest says. */
const STOCK = {
  'snapshot while it runs': 'over qcow2',
  'started again': 'raw, other bytes',
  'deleted while it is off': 'gone',
  'attached again': 'raw, other bytes',
  'snapshot while it is off': 'over qcow2',
  'attached with it': 'raw, other bytes',
  'that one deleted': 'gone',
  'attached without it': 'raw, other bytes',
  volume: 'in-use',
};

/** The overlay is told the truth; the next start (LP 1989514) and what is done offline are not. */
const STOCK_WITH_US = {
  ...STOCK,
  'snapshot while it runs': 'over raw',
  'attached again': 'raw, its own bytes',
  'attached without it': 'raw, its own bytes',
};

const OURS_WITH_US = {
  ...STOCK_WITH_US,
  'started again': 'qcow2, its own bytes',
  'snapshot while it is off': 'over raw',
  'attached with it': 'qcow2, its own bytes',
};

/** One line a step: what Cinder did, or what the guest has of what it wrote. */
async function story(lab: Lab<Cinder>): Promise<Record<string, string>> {
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  const told: Record<string, string> = {};
  let { attachmentId } = attached;
  let written = '';
  const write = async (at: number, byte: number) => {
    await guest.write('vda', at * MIB, 64 * KIB, byte);
    await guest.flush('vda');
    written = await guest.hash('vda', WRITTEN);
  };
  const start = async () => {
    const { name, format } = await cinder.connectionInfo(attachmentId);
    const path = join(attached.mountPoint, name);
    await guest.startFromTopOnly({ vda: { path, format } });
    // An overlay that is taken for raw is shorter than the disk.
    const bytes = await guest.hash('vda', WRITTEN).catch(() => 'fewer');
    return `${format}, ${bytes === written ? 'its own bytes' : 'other bytes'}`;
  };
  const detach = async () => {
    await guest.destroy().catch(() => {});
    await cinder.detach(attachmentId);
    await cinder.waitVolume(volumeId, 'available');
  };
  const attach = async () => {
    ({ attachmentId } = await cinder.attach(volumeId, guest.uuid));
    return start();
  };
  const step = async (what: string, doIt: () => Promise<string>) => {
    told[what] = await doIt().catch((error: Error) => error.message.split('\n')[0] ?? '');
  };
  const snapshot = async () => {
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'available');
    const header = parseHeader(await headerOf(`${attached.path}.${id}`), 10 * MIB);
    return { id, says: header.ok ? `over ${header.value.backingFormat}` : header.error.says };
  };
  const ids: string[] = [];
  const taken = async () => {
    const { id, says } = await snapshot();
    ids.push(id);
    return says;
  };
  const deleted = (which: number) => async () => {
    const id = ids[which] ?? '';
    await cinder.deleteSnapshot(id);
    await cinder.waitSnapshot(id, 'gone');
    return 'gone';
  };

  await forge(lab, { volumeId, attached, guest });
  await write(8, 0x17);
  await step('snapshot while it runs', taken);
  await write(16, 0x28);
  await guest.destroy();
  await step('started again', start);
  await detach();
  await step('deleted while it is off', deleted(0));
  await step('attached again', attach);
  await detach();
  await step('snapshot while it is off', taken);
  await step('attached with it', attach);
  await detach();
  await step('that one deleted', deleted(1));
  await step('attached without it', attach);
  const { status } = await cinder.getVolume(volumeId);
  return { ...told, volume: status };
}

/** The story with us where Cinder has Nova. */
async function storyWithUs(lab: Lab<Cinder>): Promise<Record<string, string>> {
  const at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint);
  tellOnFailure(at, lab.cinder);
  await lab.cinder.setNovaEndpoint(at.url);
  await using _service = await inProcess(at);
  return await story(lab); // and only then it stops
}

describe('a stock Cinder', () => {
  let lab: Lab<Cinder>;
  beforeAll(async () => {
    lab = await openLab({ cinder: true });
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  test("without us, with Nova's own driver", async () => {
    await using nova = await startNova(lab);
    onTestFailed(async () => console.log(await nova.lastWords()));
    await lab.cinder.setNovaEndpoint(nova.url);
    expect(await story(lab)).toEqual(STOCK);
  });

  test('with us', async () => {
    expect(await storyWithUs(lab)).toEqual(STOCK_WITH_US);
  });
});

describe('a Cinder with our filter and driver', () => {
  let lab: Lab<Cinder>;
  beforeAll(async () => {
    lab = await openLab(OURS);
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  test('and us', async () => {
    expect(await storyWithUs(lab)).toEqual(OURS_WITH_US);
  });
});
