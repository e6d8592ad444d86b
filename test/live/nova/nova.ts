/** Nova's libvirt driver between Cinder and the guests: its own, or ours over its own. */
import { join } from 'node:path';
import { TOKEN } from '../lab/cinder-client.ts';
import type { Libvirt } from '../lab/libvirt.ts';
import { ensurePackages } from '../lab/packages.ts';
import { Daemon, freePort, tail, waitFor } from '../lab/processes.ts';

const SERVE = join(import.meta.dirname, 'serve.py');
const CONTRIB = join(import.meta.dirname, '../../../contrib/nova');

export interface Nova extends AsyncDisposable {
  /** What goes into Cinder's `[nova] endpoint`. */
  readonly url: string;
  /** The end of its log. */
  lastWords(): string;
  /** Nova's own copy of an attachment, as it was last refreshed; {} before that. */
  mapping(volumeId: string): Promise<{ readonly data?: { name: string; format: string } }>;
}

/** Where it runs: a folder for its log, and whom it talks to. */
export interface Surroundings {
  readonly dir: string;
  readonly libvirt: Pick<Libvirt, 'uri'>;
  readonly cinder: { readonly endpoint: string };
}

/** With `socket` contrib/nova's driver, which hands on to the chainkeeper that listens there. */
export async function startNova(
  { dir, libvirt, cinder }: Surroundings,
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
  const log = join(dir, `nova-${port}.out`);
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
  return {
    url,
    mapping,
    lastWords: () => tail(log, 100),
    [Symbol.asyncDispose]: () => daemon.stop(0),
  };
}
