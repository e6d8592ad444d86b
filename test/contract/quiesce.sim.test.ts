import type { FileName } from '#domain/ids.ts';
import { type Manner, SimAgent } from '#sim/agent.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { CLUSTER_BYTES } from '#sim/share.ts';
import { type AgentLab, quiesceContract, type Takes } from './quiesce.ts';

const PATIENCE_MS = 3_000;
const LATE_MS = 4 * PATIENCE_MS;

quiesceContract('sim', async (state): Promise<AgentLab> => {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock });
  const { share, disk, server, volume, hypervisor } = cloud;
  const agent = new SimAgent(clock, PATIENCE_MS);
  const manners: Record<'freeze' | 'thaw', Takes> = { freeze: 'obeys', thaw: 'obeys' };
  const manner = (how: Takes): Manner => (how === 'late' ? { hangMs: LATE_MS } : how);
  agent.freezes = () => manner(manners.freeze);
  agent.thaws = () => manner(manners.thaw);
  if (state === 'disconnected') agent.state = state;
  if (state !== 'none') cloud.guest.agent = agent;
  return {
    hypervisor: {
      look: (disk) => hypervisor.look(disk),
      snapshot: (order) => clock.until(hypervisor.snapshot(order)),
      thaw: (guest) => clock.until(hypervisor.thaw(guest)),
    },
    ...{ server, volume, directory: share.directory, base: disk.xml.file },
    async overlay(name, { backing, format, clusters = disk.bytes / CLUSTER_BYTES }) {
      return share.create(name as FileName, { backing, backingFormat: format, clusters }).name;
    },
    takes(command, how) {
      manners[command] = how;
    },
    frozen: () => agent.frozen,
    rest: () => clock.advance(LATE_MS),
    [Symbol.asyncDispose]: () => hypervisor[Symbol.asyncDispose](),
  };
});
