import { mkdirSync } from 'node:fs';
import { exitNow } from '#adapters/libvirt/ffi.ts';
import { runCli } from '#adapters/operator/cli.ts';
import { compose, production, StartupProblem } from './composition.ts';
import { findSocket, loadConfig } from './config.ts';
import { listen } from './listen.ts';
import { stopAsked } from './stop.ts';

/** Longer than any call that may still come back; then the process ends all the same. */
const DRAIN_MS = 10_000;

/** `chainkeeper serve`: the exit code. */
export async function serve(files: readonly string[]): Promise<number> {
  const config = loadConfig({ files });
  for (const warning of config.warnings) console.error(`warning: ${warning}`);
  if (!config.ok) {
    for (const mistake of config.error) console.error(mistake);
    return 2;
  }
  try {
    mkdirSync(config.value.statePath, { recursive: true, mode: 0o750 });
    await using hexagon = await compose(production(config.value, die));
    await using _listening = await listen(hexagon, config.value);
    await stopAsked();
    hexagon.telemetry.log('info', 'chainkeeper stops');
    setTimeout(() => exitNow(0), DRAIN_MS).unref();
  } catch (error) {
    if (!(error instanceof StartupProblem) && !isBindProblem(error)) throw error;
    console.error(error.message);
    return 1;
  }
  return 0;
}

/** A defect: the journal has it, and a fresh process begins from what is true. */
export function die(defect: unknown): never {
  console.error(defect);
  // process.exit waits for a libvirt call that is stuck; this does not (measured).
  exitNow(70);
}

const isBindProblem = (error: unknown): error is Error =>
  error instanceof Error && 'syscall' in error && error.syscall === 'listen';

if (import.meta.main) {
  const { stdout, stderr } = process;
  const socketOf = (files: readonly string[]) => findSocket({ files });
  const io = { stdout, stderr, serve, findSocket: socketOf };
  const code = await runCli(process.argv.slice(2), io);
  // Everything is closed by now; what still holds the loop is a call that nobody waits for.
  process.exitCode = code;
  setTimeout(() => exitNow(code), 1000).unref();
}
