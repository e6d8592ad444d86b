import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listen } from '#app/listen.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';

let host: SimulatedHost;
beforeAll(async () => {
  host = await SimulatedHost.open({ port: 0 });
});
afterAll(() => host[Symbol.asyncDispose]());

/** Listens there, beside the host itself, with a socket of its own. */
function on(bindHost: string, bindPort: number, group: 'api' | 'operator' = 'api') {
  const { config, folder } = host;
  const operator = { ...config.operator, socket: join(folder, 'other.sock') };
  const api = { ...config.api, bindPort: 0 };
  const place = { bindHost, bindPort };
  return listen(host.hexagon, {
    ...config,
    api: group === 'api' ? { ...api, ...place } : api,
    operator: group === 'operator' ? { ...operator, ...place } : operator,
  });
}

test.each([
  ['999.1.1.1', 0],
  ['127.0.0.1:80', 0],
  ['two words', 0],
])(
  'a bind_host of %j is said to have no address',
  async (name, port) => {
    await expect(on(name, port)).rejects.toThrow(
      `No address is known for ${name}:${port}: give an IP address as [api] bind_host.`,
    );
    // A resolver that is away is asked for a while.
  },
  30_000,
);

test('an address of another host, and a port that is taken', async () => {
  await expect(on('192.0.2.1', 0)).rejects.toThrow(
    'This host has no address 192.0.2.1:0: name another [api] bind_host.',
  );
  const { bindPort } = host.config.api;
  await expect(on('127.0.0.1', bindPort, 'operator')).rejects.toThrow(
    `Somebody else listens on 127.0.0.1:${bindPort}: stop it, or name another [operator] bind_port`,
  );
});
