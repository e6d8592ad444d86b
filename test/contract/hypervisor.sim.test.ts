import type { Merge } from '#domain/chain.ts';
import { type FileName, type Format, RAW } from '#domain/ids.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud, type SimCloudOptions } from '#sim/cloud.ts';
import { CLUSTER_BYTES, type NewFile } from '#sim/share.ts';
import { type HypervisorLab, hypervisorContract, type Unfit } from './hypervisor.ts';
import { luksContract } from './luks.ts';
import { refusalContract } from './refusals.ts';

type Options = Omit<SimCloudOptions, 'clock'>;

hypervisorContract('sim', async () => lab({}));
hypervisorContract('sim over qcow2', async () => lab({ baseFormat: 'qcow2' as Format }));
hypervisorContract('sim over vhd', async () => lab({ baseFormat: 'vpc' as Format }));
hypervisorContract('old sim', async () => lab({ oldLibvirt: true }));

refusalContract('sim', async () => lab({}));

luksContract('sim', async (baseFormat) => {
  const made = lab({ baseFormat, luks: true });
  const { disk } = made.cloud;
  const key = { secret: disk.secret, engine: 'qemu' };
  const forgetSecret = async () => {
    disk.hasSecret = false;
  };
  return { ...made, key, forgetSecret };
});

const UNFIT: Readonly<Record<Unfit, NewFile>> = {
  folder: { access: 'folder' },
  raw: { format: RAW },
  forbidden: { access: 'forbidden' },
  encrypted: { luks: true },
};

function lab(options: Options): HypervisorLab & { readonly cloud: SimCloud } {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock, ...options });
  const { hypervisor, share, disk, server, volume, root } = cloud;
  const where = { server, volume };
  return {
    cloud,
    hypervisor,
    server,
    volume,
    other: root.volume,
    base: disk.xml.file,
    baseFormat: options.baseFormat ?? RAW,
    directory: share.directory,
    oldLibvirt: options.oldLibvirt ?? false,
    async overlay(name, { backing, format, clusters = disk.bytes / CLUSTER_BYTES }) {
      const { luks = false } = options;
      const says = { backing, backingFormat: format, clusters, luks };
      return share.create(name as FileName, says).name;
    },
    async unfit(name, how) {
      return share.create(name as FileName, UNFIT[how]).name;
    },
    async write(at, byte) {
      disk.write(at, byte);
    },
    async writeZeroes(at) {
      disk.writeZeroes(at);
    },
    async hash() {
      return JSON.stringify(disk.view());
    },
    async headerOf(file) {
      const { backing, format } = share.file(file)?.header ?? { backing: null, format: null };
      return { backing, format };
    },
    async idle() {
      while (disk.job !== null) await clock.advance(100);
    },
    async ready() {
      while (disk.job?.info()?.mirror?.ready !== true) await clock.advance(100);
    },
    /** One cluster of it is copied; it goes on only with the clock. */
    async startEndless(merge: Merge) {
      const view = await hypervisor.look(where);
      if (!view.ok || view.value.kind !== 'disk') throw new Error('no disk');
      const { target, process } = view.value;
      const chain: FileName[] = [];
      for (let at: typeof disk.xml | null = disk.xml; at; at = at.on) chain.push(at.file);
      await hypervisor.merge({ ...where, target, process, merge, chain });
      await clock.advance(400);
    },
    async cancel() {
      hypervisor.cancel(where);
    },
    async pause() {
      cloud.guest.suspend();
    },
    async resume() {
      cloud.guest.resume();
    },
    async kill() {
      hypervisor.end(server, 'killed');
    },
    async stop() {
      hypervisor.end(server, 'stopped');
    },
    async save() {
      hypervisor.end(server, 'stopped');
      cloud.guest.saved = true;
    },
    async start() {
      const started = hypervisor.start(server);
      if (!started.ok) throw new Error(started.error);
    },
    async startAsConfigured() {
      const started = hypervisor.start(server, 'the configuration');
      if (!started.ok) throw new Error(started.error);
    },
    async [Symbol.asyncDispose]() {
      await hypervisor[Symbol.asyncDispose]();
    },
  };
}
