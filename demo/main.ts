import { parseArgs } from 'node:util';
import { stopAsked, stopWithParent } from '#app/stop.ts';
import { tell } from './story.ts';

const USAGE = `usage: npm run demo [-- --live]

Without arguments over a simulated cloud. With --live on real libvirt, QEMU and Cinder, as root:
Debian's packages are installed when they are missing.
`;

/** The exit code: 0 when nothing was lost. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { live: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const say = (line = '') => process.stdout.write(`${line}\n`);
  await using stage = values.live
    ? await (await import('./live.ts')).liveStage()
    : await (await import('./simulated.ts')).simulatedStage();
  const told = tell(stage, say).then((kept) => (kept ? 0 : 1));
  // Ctrl-C, or a reader that has gone: everything is put away all the same.
  return await Promise.race([told, stopAsked().then(() => 130), unheard()]);
}

function unheard(): Promise<number> {
  return new Promise((resolve) => process.stdout.on('error', () => resolve(1)));
}

stopWithParent();
try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
// The simulated world's timers go on; nobody waits for them.
process.exit();
