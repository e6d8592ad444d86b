import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { sendDatagram } from '#adapters/system/notify-ffi.ts';
import { supervisor } from '#app/config.ts';
import { supervised } from '#app/supervision.ts';
import type { Inspect } from '#ports/inspect.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-notify-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Node has no sockets of datagrams; perl, which every Debian has, receives them. */
const RECEIVER = `
use Socket; $| = 1;
my $name = $ARGV[0]; $name =~ s/^@/\\0/;
socket(my $s, PF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($s, sockaddr_un($name)) or die $!;
print "listening\\n";
while (defined(recv($s, my $text, 65536, 0))) { $text =~ s/\\n/ /g; print "$text\\n"; }`;

let receiver: ChildProcess | null = null;
afterEach(() => receiver?.kill('SIGKILL'));

/** What systemd would hear on a socket of this name. */
async function systemd(socket: string): Promise<() => readonly string[]> {
  const child = spawn('perl', ['-e', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  receiver = child;
  let heard = '';
  child.stdout.on('data', (piece) => {
    heard += piece;
  });
  await once(child.stdout, 'data');
  return () => heard.split('\n').slice(1, -1);
}

const said: string[] = [];
const telemetry = { log: (level: string, text: string) => said.push(`${level} ${text}`) };
const busy = { at: 'merging' };
const inspect = {
  operations: async () => [{ saga: busy }, { saga: { at: 'waiting' } }],
} as unknown as Pick<Inspect, 'operations'>;

test.each([join(folder, 'notify'), `@chainkeeper-test-${process.pid}`])(
  'ready, alive, stopping: %s',
  async (socket) => {
    const heard = await systemd(socket);
    {
      await using _watched = supervised({
        supervisor: { socket, watchdogMs: 200 },
        ...{ inspect, telemetry },
      });
      await expect.poll(() => heard().length).toBeGreaterThan(2);
    }
    await expect.poll(() => heard().at(-1)).toBe('STOPPING=1');
    const alive = 'WATCHDOG=1 STATUS=2 operations open, 1 merging';
    expect(heard().slice(0, 3)).toEqual([`READY=1 ${alive}`, alive, alive]);
    expect(said).toEqual([]);
  },
);

test('a journal that does not answer is no sign of life', async () => {
  const socket = join(folder, 'stuck');
  const heard = await systemd(socket);
  for (const operations of [() => new Promise<never>(() => {}), () => Promise.reject('gone')]) {
    await using _watched = supervised({
      supervisor: { socket, watchdogMs: 40 },
      ...{ inspect: { operations }, telemetry },
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(heard().filter((it) => it !== 'STOPPING=1')).toEqual([]);
  }
  expect(said.splice(0)[0]).toBe('error the journal gives no sign of life: gone');
});

test('nobody who listens is said once, and stops nothing', async () => {
  const gone = { socket: join(folder, 'nobody'), watchdogMs: 20 };
  {
    await using _watched = supervised({ supervisor: gone, inspect, telemetry });
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  // ENOENT of errno(3).
  expect(said.splice(0)).toEqual(['warning systemd cannot be told anything (not sent (errno 2))']);
  expect(sendDatagram(`/${'x'.repeat(200)}`, 'a')).toMatch(/too long/);
});

test('what systemd says in the environment', () => {
  const NOTIFY_SOCKET = '/run/systemd/notify';
  const on = { NOTIFY_SOCKET, WATCHDOG_USEC: '60000000' };
  const socket = NOTIFY_SOCKET;
  expect(supervisor({})).toBe(null);
  expect(supervisor({ NOTIFY_SOCKET: 'relative' })).toBe(null);
  expect(supervisor({ NOTIFY_SOCKET })).toEqual({ socket, watchdogMs: null });
  expect(supervisor(on)).toEqual({ socket, watchdogMs: 60_000 });
  expect(supervisor({ ...on, WATCHDOG_PID: '7' }, 7)).toEqual({ socket, watchdogMs: 60_000 });
  expect(supervisor({ ...on, WATCHDOG_PID: '8' }, 7)).toEqual({ socket, watchdogMs: null });
  expect(supervisor({ ...on, WATCHDOG_USEC: 'x' })).toEqual({ socket, watchdogMs: null });
});
