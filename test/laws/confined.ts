/** A process of its own: the whole service over a simulated cloud, in a folder that it is given. */
import { SimulatedHost } from '#sim/simulated-host.ts';

const [, , statePath = ''] = process.argv;
const host = await SimulatedHost.open({ port: 0, statePath, tickMs: 5 });
const { cinder, disk, volume } = host.cloud;
disk.forge({});
const first = await cinder.createSnapshot(volume);
await host.crash();
await host.boot();
const second = await cinder.createSnapshot(volume);
const merged = await cinder.deleteSnapshot(first.snapshot);
const refused = await cinder.createSnapshot(volume);
const ends = [first, second, merged, refused].map(({ status }) => status);
await host[Symbol.asyncDispose]();
process.stdout.write(`${ends.join(' ')}\n`, () => process.exit());
