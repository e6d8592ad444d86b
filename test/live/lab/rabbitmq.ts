/** A RabbitMQ of the lab's own: own ports, own Erlang port mapper, loopback only. */
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Daemon, freePorts, waitFor } from './processes.ts';

export interface RabbitMq extends AsyncDisposable {
  readonly port: number;
  readonly daemon: Daemon;
}

/**
 * Returns once it is starting; `ready` tells when it serves. Debian's wrapper in /usr/sbin
 * is passed by: it would change to the rabbitmq user and to Debian's directories.
 */
export async function startRabbitMq(
  dir: string,
): Promise<{ rabbit: RabbitMq; ready: Promise<void> }> {
  const home = join(dir, 'rabbitmq');
  await mkdir(join(home, 'mnesia'), { recursive: true });
  await writeFile(join(home, 'plugins'), '[].');
  await writeFile(join(home, 'rabbitmq.conf'), 'log.file.level = warning\n');
  const [port, distribution, mapper] = (await freePorts(3)) as [number, number, number];
  // Without a mapper of its own, Erlang starts one on every interface that outlives the broker.
  const epmd = Daemon.start('epmd', 'epmd', ['-address', '127.0.0.1', '-port', `${mapper}`], {
    log: join(home, 'epmd.out'),
  });
  const env = {
    ...process.env,
    HOME: home, // the Erlang cookie
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(mapper),
    RABBITMQ_NODENAME: `lab${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(home, 'mnesia'),
    RABBITMQ_LOG_BASE: home,
    RABBITMQ_ENABLED_PLUGINS_FILE: join(home, 'plugins'),
    RABBITMQ_CONFIG_FILE: join(home, 'rabbitmq'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    // As under systemd: the script execs Erlang, so that the pid we know is the broker's.
    RUNNING_UNDER_SYSTEMD: 'true',
    // -kernel: the distribution port on the loopback too; no busy waiting on two cores.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
      '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none',
  };
  const daemon = Daemon.start('rabbitmq', '/usr/lib/rabbitmq/bin/rabbitmq-server', [], {
    log: join(home, 'rabbitmq.out'),
    env,
  });
  const dispose = async () => {
    await daemon.stop(0); // its queues die with the lab: no need for a graceful end (2 s)
    await epmd.stop();
  };
  const ready = waitFor(
    'RabbitMQ',
    () => {
      daemon.mustRun();
      return speaksAmqp(port);
    },
    { timeoutMs: 60_000 },
  ).then(() => {});
  ready.catch(() => {}); // awaited later, together with the rest
  return { rabbit: { port, daemon, [Symbol.asyncDispose]: dispose }, ready };
}

/** The listener opens last; who answers the protocol header is up. rabbitmqctl takes 2 s. */
function speaksAmqp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write('AMQP\0\0\x09\x01'));
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => end(false));
    socket.once('error', () => end(false));
    socket.once('close', () => resolve(false));
    socket.once('data', (data) => end(data[0] === 1));
  });
}
