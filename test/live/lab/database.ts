/**
 * A PostgreSQL of the lab's own, on a unix socket. Not SQLite: Cinder's transactions read before
 * they write, and then SQLite says "database is locked" at once when another one writes meanwhile,
 * whatever the timeout. Under load that was 3 of 100 snapshots answered with a 500, and now and
 * then one left `deleting` for good after the compute side had done its part.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Daemon, run, waitFor } from './processes.ts';

export interface Database extends AsyncDisposable {
  /** What goes into `[database] connection`. */
  readonly connection: string;
}

const PROGRAMS = '/usr/lib/postgresql/15/bin';
/** It refuses to run as root; setpriv executes it, so that the pid we know is its own. */
const AS_POSTGRES = ['--reuid', 'postgres', '--regid', 'postgres', '--clear-groups'];
/** It dies with the lab, and waits for no disk. */
const SETTINGS = {
  listen_addresses: '',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  autovacuum: 'off',
  shared_buffers: '16MB',
  dynamic_shared_memory_type: 'mmap',
} as const;

export async function startDatabase(dir: string): Promise<Database> {
  const home = join(dir, 'database');
  const data = join(home, 'data');
  await mkdir(home, { recursive: true });
  await chmod(home, 0o777);
  const program = (name: string) => join(PROGRAMS, name);
  const cluster = ['-D', data, '-U', 'cinder', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
  await run('setpriv', [...AS_POSTGRES, program('initdb'), ...cluster, '--no-sync']);
  const settings = Object.entries({ ...SETTINGS, unix_socket_directories: home });
  const daemon = Daemon.start(
    'postgres',
    'setpriv',
    [
      ...[...AS_POSTGRES, program('postgres'), '-D', data],
      ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    { log: join(dir, 'log', 'postgres.out') },
  );
  await waitFor(
    'PostgreSQL',
    async () => {
      daemon.mustRun();
      return (await run(program('pg_isready'), ['-q', '-h', home])) === '';
    },
    { everyMs: 50 },
  );
  return {
    connection: `postgresql+psycopg2://cinder@/postgres?host=${home}`,
    [Symbol.asyncDispose]: () => daemon.stop(),
  };
}
