/** Nova's libvirt driver between Cinder and the guests: its own, or ours over its own. */
import { join } from 'node:path';
import { onTestFailed } from 'vitest';
import type { Cinder } from '../lab/cinder.ts';
import { TOKEN } from '../lab/cinder-client.ts';
import type { Lab } from '../lab/lab.ts';
import { ensurePackages } from '../lab/packages.ts';
import { Daemon, freePort, tail, waitFor } from '../lab/processes.ts';

const SERVE = join(import.meta.dirname, 'serve.py');
const CONTRIB = join(import.meta.dirname, '../../../contrib/nova');

export interface Nova extends AsyncDisposable {
  /** What goes into Cinder's `[nova] endpoint`. */
  readonly url: string;
  /** Prints the end of its log when the test that runs fails. */
  tellOnFailure(): void;
  /** Nova's own copy of an attachment, as it was last refreshed; {} before that. */
  mapping(volumeId: string): Promise<{ readonly data?: { name: string; format: string } }>;
}

/** With `socket` contrib/nova's driver, which hands on to the chainkeeper that listens there. */
export async function startNova(
  { dir, libvirt, cinder }: Lab<Cinder>,
  socket?: string,
): Promise<Nova> {
  await ensurePackages({ cinder: true, nova: true });
  const port = await freePort();
  const [, project] = TOKEN.split(':') as [string, string];
  const cloud = [cinder.endpoint, TOKEN, project, libvirt.uri];
  const driver =
    socket === undefined
      ? ['libvirt.LibvirtDriver']
      : ['chainkeeper.LibvirtDriver', CONTRIB, socket];
  const args = ['-B', SERVE, String(port), ...cloud, ...driver];
  const log = join(dir, 'nova.out');
  // Debian's Python, whose packages they are.
  const daemon = Daemon.start('nova', '/usr/bin/python3', args, { log });
  const url = `http://127.0.0.1:${port}/v2.1`;
  try {
    await waitFor('Nova', async () => {
      daemon.mustRun();
      return (await fetch(url, { signal: AbortSignal.timeout(5_000) })).ok;
    });
  } catch (error) {
    await daemon.stop(0);
    throw error;
  }
  const mapping: Nova['mapping'] = async (id) =>
    (await fetch(`${url}/mappings/${id}`)).json() as ReturnType<Nova['mapping']>;
  const tellOnFailure = () => onTestFailed(() => console.log(tail(log, 100)));
  return { url, mapping, tellOnFailure, [Symbol.asyncDispose]: () => daemon.stop(0) };
}
