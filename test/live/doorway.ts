/** Stands between Cinder and us, to know when a request comes; a dead service is a closed door. */
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './lab/processes.ts';

export interface Doorway extends AsyncDisposable {
  readonly port: number;
  /** When the newest request came, in wall-clock milliseconds. */
  readonly arrivedAt: number;
  /** Resolves when the next request has come through. */
  nextRequest(): Promise<void>;
}

export async function openDoorway(to: number): Promise<Doorway> {
  const port = await freePort();
  const open = new Set<Socket>();
  let arrivedAt = 0;
  let waiting: (() => void)[] = [];
  const server = createServer((caller) => {
    const service = connect({ host: '127.0.0.1', port: to });
    for (const [one, other] of [
      [caller, service],
      [service, caller],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
      one.on('close', () => open.delete(one));
      one.pipe(other);
    }
    caller.on('data', (data) => {
      if (!/^(POST|DELETE) /.test(data.toString('latin1', 0, 8))) return;
      arrivedAt = Date.now();
      for (const tell of waiting) tell();
      waiting = [];
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port,
    get arrivedAt() {
      return arrivedAt;
    },
    nextRequest: () => new Promise((resolve) => waiting.push(resolve)),
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
