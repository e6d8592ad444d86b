import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { FileName, ServerId, VolumeId } from '#domain/ids.ts';
import { GuestAgent, guestWithChannel } from '../live/lab/guest-agent.ts';
import { hypervisorOfLab } from '../live/lab/hypervisor.ts';
import { createImage, createOverlay, type ImageFormat } from '../live/lab/images.ts';
import { type Lab, openLab } from '../live/lab/lab.ts';
import { waitFor } from '../live/lab/processes.ts';
import { type AgentLab, quiesceContract } from './quiesce.ts';

let machine: Lab<null>;

beforeAll(async () => {
  machine = await openLab({ cinder: false });
});

afterAll(() => machine?.[Symbol.asyncDispose]());

const PATIENCE_MS = 2_000;
const LATE_MS = 3 * PATIENCE_MS;
const SOON = { timeoutMs: 20_000, everyMs: 20 };
const SIZE = 16 * 1024 * 1024;

quiesceContract('libvirt', async (state): Promise<AgentLab> => {
  await using parts = new AsyncDisposableStack();
  const directory = join(machine.images, randomUUID());
  await mkdir(directory);
  await chmod(directory, 0o755);
  const path = await createImage(join(directory, 'volume'), { format: 'raw', size: SIZE });
  const volume = randomUUID() as VolumeId;
  const disks = [{ path, format: 'raw', serial: volume }];
  const { guest, socket } =
    state === 'none'
      ? { guest: await machine.guest({ disks, paused: false }), socket: '' }
      : await guestWithChannel(machine, { disks });
  parts.use(guest);
  const agent = state === 'connected' ? parts.use(await GuestAgent.start(guest, socket)) : null;
  const hypervisor = parts.use(await hypervisorOfLab(PATIENCE_MS));
  const all = parts.move();
  return {
    ...{ hypervisor, volume, directory, server: guest.uuid as ServerId },
    base: 'volume' as FileName,
    async overlay(name, { backing, format }) {
      if (format === null) throw new Error('an overlay names a format');
      const says = { name: backing, format: format as string as ImageFormat };
      await createOverlay(join(directory, name), says);
      return name as FileName;
    },
    takes(command, how) {
      if (agent !== null) agent[command] = how === 'late' ? { slowMs: LATE_MS } : how;
    },
    frozen: () => agent?.frozen ?? false,
    async rest() {
      await waitFor('the agent to be done', () => agent?.busy !== true, SOON);
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
});
