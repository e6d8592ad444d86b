import { parseArgs } from 'node:util';
import { stopAsked } from '#app/stop.ts';
import { SimulatedHost } from './simulated-host.ts';
import { run } from './world/run.ts';
import { reds } from './world/shrink.ts';
import { story, verdict } from './world/story.ts';

const USAGE = `usage: chainkeeper sim [--port PORT]
       chainkeeper sim --seed N [--all]

The service over a simulated cloud: one guest with one volume, on which a simulated Cinder takes
and deletes snapshots every few seconds. Look at it from another terminal, as at a real one.

With --seed: one history of the random world, told; with --all also what the service read, and
what it wrote into its journal. Exit code 1 when a law is broken in it.
`;

/** `chainkeeper sim`: the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: 'string' },
      seed: { type: 'string' },
      all: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (values.seed !== undefined) {
    if (values.port !== undefined) throw new Error('--port is for the service, not for --seed N');
    const seed = Number(values.seed);
    if (!/^\d+$/.test(values.seed) || !Number.isSafeInteger(seed)) {
      throw new Error(`--seed is '${values.seed}': give a whole number`);
    }
    return tellSeed(seed, values.all);
  }
  if (values.all) throw new Error('--all belongs to --seed N');
  const { port: named = '8797' } = values;
  const port = Number(named);
  if (!/^\d{1,5}$/.test(named) || port > 65535) {
    throw new Error(`--port is '${named}': give a whole number from 0 to 65535`);
  }
  const stop = stopAsked();
  await using host = await SimulatedHost.open({ port });
  const { socket } = host.config.operator;
  process.stderr.write(`chainkeeper over a simulated cloud
  what Cinder calls   ${host.url}
  volume              ${host.cloud.volume}
  look at it with     bin/chainkeeper.js chain show ${host.cloud.volume} --socket ${socket}
                      bin/chainkeeper.js ops list --socket ${socket}
  log                 ${host.config.logFile}
Ctrl-C ends it and removes everything.
`);
  let stopped = false;
  void stop.then(() => {
    stopped = true;
  });
  void users(host, () => stopped);
  await stop;
  return 0;
}

/** One history, and what is to be said of it; the exit code. */
async function tellSeed(seed: number, all: boolean): Promise<number> {
  const told = await run(seed, { recording: true });
  const lines = [...story(told, { all }), '', ...verdict(told)];
  await writeOut(`${lines.join('\n')}\n`);
  return reds(told).length > 0 ? 1 : 0;
}

const writeOut = (text: string): Promise<void> =>
  new Promise((resolve) => process.stdout.write(text, () => resolve()));

/** What people do to their volumes, for ever. */
async function users({ cloud }: SimulatedHost, over: () => boolean): Promise<void> {
  const { cinder, clock } = cloud;
  for (let byte = 1; !over(); byte = (byte % 250) + 1) {
    cloud.disk.write(byte % 8, byte);
    const taken = [...cinder.snapshots.keys()];
    const oldest = taken[Math.floor(clock.random() * taken.length)];
    if (taken.length < 2 || clock.random() < 0.4) await cinder.createSnapshot(cloud.volume);
    else if (oldest !== undefined) await cinder.deleteSnapshot(oldest);
    await clock.sleep(5000);
  }
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`chainkeeper sim: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 2;
  }
  // The simulated users sleep on; nobody waits for them.
  process.exit();
}
