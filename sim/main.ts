import { parseArgs } from 'node:util';
import { lastWords } from '#app/last-words.ts';
import { stopAsked, stopWithParent } from '#app/stop.ts';
import { everyday } from './everyday.ts';
import { removeLeftovers } from './leftovers.ts';
import { SimulatedHost } from './simulated-host.ts';
import { run } from './world/run.ts';
import { reds } from './world/shrink.ts';
import { story, verdict } from './world/story.ts';

const USAGE = `usage: chainkeeper sim [--port PORT] [--page-port PORT]
       chainkeeper sim --seed N [--all]

The service over a simulated cloud: four guests with volumes, of which people take and delete
snapshots all the time. Look at it in a browser or from another terminal, as at a real one.

With --seed: one history of the random world, told; with --all also what the service read, and
what it wrote into its journal. Exit code 1 when a law is broken in it.
`;

/** `chainkeeper sim`: the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: 'string' },
      'page-port': { type: 'string' },
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
    for (const name of ['port', 'page-port'] as const) {
      if (values[name] === undefined) continue;
      throw new Error(`--${name} is for the service, not for --seed N`);
    }
    const seed = Number(values.seed);
    if (!/^\d+$/.test(values.seed) || !Number.isSafeInteger(seed)) {
      throw new Error(`--seed is '${values.seed}': give a whole number`);
    }
    return tellSeed(seed, values.all);
  }
  if (values.all) throw new Error('--all belongs to --seed N');
  const port = portOf('port', values.port ?? '8797');
  const pagePort = portOf('page-port', values['page-port'] ?? '0');
  const stop = stopAsked();
  await removeLeftovers();
  process.on('uncaughtException', (error) => {
    process.stderr.write(`${lastWords(error)}\n`);
    process.exit(70);
  });
  await using host = await SimulatedHost.open({ port, pagePort, clustersPerTick: 2 });
  const { socket } = host.config.operator;
  process.stderr.write(`chainkeeper over a simulated cloud
  the page            ${host.page}
  what Cinder calls   ${host.url}
  volume              ${host.cloud.volume}
  look at it with     bin/chainkeeper.js chain show ${host.cloud.volume} --socket ${socket}
                      bin/chainkeeper.js ops list --socket ${socket}
  log                 ${host.config.logFile}
One volume has drifted, so that there is something to mend.
Ctrl-C ends it and removes everything.
`);
  let stopped = false;
  void stop.then(() => {
    stopped = true;
  });
  void everyday(host.cloud, () => stopped);
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

function portOf(name: string, text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65535) return port;
  throw new Error(`--${name} is '${text}': give a whole number from 0 to 65535`);
}

if (import.meta.main) {
  stopWithParent();
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    // Node's own sentences about arguments are of several lines.
    const why = (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ');
    process.stderr.write(`chainkeeper sim: ${why}\n`);
    process.exitCode = 2;
  }
  // The simulated users sleep on; nobody waits for them.
  process.exit();
}
