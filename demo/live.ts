import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ask } from '#adapters/operator/client.ts';
import { createImage } from '../test/live/lab/images.ts';
import { attachedGuest, openLab } from '../test/live/lab/lab.ts';
import { virsh } from '../test/live/lab/libvirt.ts';
import { waitFor } from '../test/live/lab/processes.ts';
import { place, Served } from '../test/live/service.ts';
import { liveChain } from '../test/live/witnesses.ts';
import { short } from './simulated.ts';
import type { Stage } from './story.ts';

const MIB = 2 ** 20;

/** Real libvirtd, QEMU, RabbitMQ and stock Cinder, and the service as a process of its own. */
export async function liveStage(): Promise<Stage> {
  await using parts = new AsyncDisposableStack();
  const lab = parts.use(await openLab({ cinder: true }));
  const { cinder } = lab;
  // Slow enough to be killed in the middle of a merge.
  const slow = '[libvirt]\nbandwidth_mib = 1\n';
  const at = await place(join(lab.dir, 'chainkeeper'), cinder.endpoint, slow);
  const served = parts.use(new Served(at));
  await Promise.all([served.start(), cinder.setNovaEndpoint(at.url)]);
  const { volumeId, guest } = await attachedGuest(lab, { persistent: true });
  const log = join(at.dir, 'chainkeeper.log');
  let heard = 0;
  const all = parts.move();

  return {
    about: 'the whole service over real libvirt, QEMU and stock Cinder',
    chain: async () =>
      (await liveChain(guest, volumeId)).map(({ file, format }) => `${short(file)}  ${format}`),
    write: (place) => guest.write('vda', place * 8 * MIB, 4 * MIB, place),
    attack: async () => {
      const forged = join(lab.images, 'forged');
      await createImage(forged, { format: 'qcow2', size: 2 ** 30 });
      const bytes = await readFile(forged);
      const sectors = Math.ceil(bytes.length / 512) * 512;
      await writeFile(forged, Buffer.concat([bytes], sectors));
      await chmod(forged, 0o644);
      await guest.writeFile('vda', 0, sectors, forged);
    },
    bytes: () => guest.hash('vda'),
    take: async () => {
      const id = await cinder.createSnapshot(volumeId);
      await cinder.waitSnapshot(id, 'available');
      return id;
    },
    remove: async (id) => {
      await cinder.deleteSnapshot(id);
      await cinder.waitSnapshot(id, 'gone');
      return id;
    },
    updates: async () => {
      const told = [
        ...(await readFile(log, 'utf8')).matchAll(/Cinder accepted for .*?: (\{.*\})/g),
      ];
      const fresh = told.slice(heard).map(([, body = '']) => short(body));
      heard = told.length;
      return fresh;
    },
    evidence: async () => {
      const list = await ask(at.socket, '/v1/operations?state=all&limit=1');
      const [newest] = rows(list, 'operations');
      const report = await ask(at.socket, `/v1/operations/${newest?.id}`);
      return rows(report, 'evidence').map(({ kind, detail }) => `${kind}: ${short(`${detail}`)}`);
    },
    killDuringMerge: async () => {
      const job = () => virsh('blockjob', guest.name, 'vda', '--raw');
      await waitFor('a merge to begin', async () => (await job()).includes('type='), {
        everyMs: 50,
      });
      await served.kill9();
    },
    restart: async () => {
      const text = await readFile(at.conf, 'utf8');
      await writeFile(at.conf, text.replace(slow, ''));
      await served.start();
    },
    reboot: async () => {
      await guest.kill9();
      await guest.startFromTopOnly();
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function rows(
  reply: Awaited<ReturnType<typeof ask>>,
  key: string,
): readonly Readonly<Record<string, unknown>>[] {
  const body = reply.kind === 'ok' ? (reply.body as Record<string, unknown>) : {};
  const found = body[key];
  return Array.isArray(found) ? found : [];
}
