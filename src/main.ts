import { headerAt } from '#adapters/images/images.ts';
import { exitNow } from '#adapters/libvirt/ffi.ts';
import { EXIT, runCli } from '#adapters/operator/cli.ts';
import { OsloLog } from '#adapters/operator/log.ts';
import { codeOf, whyNot } from '#adapters/system/access.ts';
import { giveBack } from '#adapters/system/memory-ffi.ts';
import { explainFault } from '#domain/failure.ts';
import { compose, production } from './composition.ts';
import { findSocket, type Loaded, loadConfig, supervisor } from './config.ts';
import { configSample, describedOptions } from './config-sample.ts';
import { configChecks, doctor } from './doctor.ts';
import { lastWords } from './last-words.ts';
import { listen } from './listen.ts';
import { StartupProblem } from './startup-problem.ts';
import { makeStatePath } from './state-path.ts';
import { stopAsked } from './stop.ts';
import { supervised } from './supervision.ts';

/** Longer than any call that may still come back; then the process ends all the same. */
const DRAIN_MS = 10_000;

/** `chainkeeper serve`: the exit code. */
export async function serve(files: readonly string[]): Promise<number> {
  const config = loadConfig({ files });
  for (const warning of config.warnings) console.error(`warning: ${warning}`);
  if (!config.ok) {
    for (const mistake of [...nowhere(config), ...config.error]) console.error(mistake);
    return EXIT.usage;
  }
  try {
    makeStatePath(config.value.statePath);
    await using hexagon = await compose(production(config.value, die));
    const { telemetry, hypervisor } = hexagon;
    const about = await hypervisor.about();
    if (!about.ok) telemetry.log('warning', explainFault(about.error));
    else telemetry.log('info', about.value);
    process.on('SIGHUP', () => telemetry instanceof OsloLog && telemetry.reopen());
    await using _listening = await listen(hexagon, config.value);
    using _given = giveBack();
    await using _watched = supervised({ ...hexagon, supervisor: supervisor() });
    await stopAsked();
    telemetry.log('info', 'chainkeeper stops');
    setTimeout(() => exitNow(0), DRAIN_MS).unref();
  } catch (error) {
    if (!(error instanceof StartupProblem) && !isBindProblem(error)) throw error;
    console.error(error.message);
    return 1;
  }
  return 0;
}

/** Which files there might have been: whoever starts it for the first time has none. */
function nowhere({ places: { none, sought } }: Loaded): readonly string[] {
  return none ? [`there is no file: neither ${sought.join(' nor ')}`] : [];
}

/** A defect: the journal has it, and a fresh process begins from what is true. */
export function die(defect: unknown): never {
  console.error(lastWords(defect));
  // process.exit waits for a libvirt call that is stuck; this does not (measured).
  exitNow(70);
}

const isBindProblem = (error: unknown): error is Error =>
  error instanceof Error && 'syscall' in error && error.syscall === 'listen';

if (import.meta.main) {
  // A promise that nobody waits for may be the one that hears of it; and Node itself would wait for
  // the thread that libvirt's events have, for ever.
  process.on('uncaughtException', die);
  // A reader that has gone has seen enough; of a full disk somebody wants to know.
  process.stdout.on('error', (error) => {
    const code = codeOf(error);
    if (code !== 'EPIPE') console.error(`chainkeeper: stdout cannot be written: ${whyNot(code)}`);
    exitNow(1);
  });
  const { stdout, stderr } = process;
  const socketOf = (files: readonly string[]) => findSocket({ files });
  const config = {
    sample: configSample,
    options: describedOptions,
    validate: (files: readonly string[]) => configChecks(loadConfig({ files })),
  };
  const io = {
    ...{ stdout, stderr, serve, doctor, config, findSocket: socketOf, header: headerAt },
    ...{ tty: stdout.isTTY === true, interrupted: stopAsked },
    get width() {
      return stdout.columns;
    },
  };
  const code = await runCli(process.argv.slice(2), io);
  // Everything is closed by now; what still holds the loop is a call that nobody waits for.
  process.exitCode = code;
  setTimeout(() => exitNow(code), 1000).unref();
}
