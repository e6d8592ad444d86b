import { type Manner, SimAgent } from '../agent.ts';
import type { SimGuest } from '../guest.ts';
import type { World } from './world.ts';

/** Longer than the agent's patience first; a freeze that takes its time is one too. */
const HANGS_MS = [31_000, 3_000, 60_000, 150_000] as const;

/** Gives some guests an agent. Answers what the operator has set [libvirt] quiesce to. */
export function giveAgents(world: World): World['quiesce'] {
  const { choices, clock, cloud } = world;
  const { guests } = cloud.hypervisor;
  for (const guest of guests) {
    if (choices.pick('guest has an agent', 4) !== 3) continue;
    guest.agent = new SimAgent(clock);
    obeying(world, guest, guest.agent);
  }
  const mode = choices.of('quiesce', ['auto', 'auto', 'never', 'required']);
  // Where it is required, and a guest has none, no snapshot works.
  return mode === 'required' && guests.some(({ agent }) => agent === null) ? 'auto' : mode;
}

function obeying(world: World, { disks }: SimGuest, agent: SimAgent): void {
  const { choices, swarm } = world;
  const manner = (refuses: string, hangs: string): Manner => {
    if (swarm.strikes(refuses)) return 'refuses';
    return swarm.strikes(hangs) ? { hangMs: choices.of('agent hangs for', HANGS_MS) } : 'obeys';
  };
  agent.freezes = () => manner('agent refuses to freeze', 'agent hangs in a freeze');
  agent.thaws = () => manner('agent refuses to thaw', 'agent hangs in a thaw');
  agent.daemonDies = () => {
    if (!swarm.strikes('libvirtd dies in a freeze')) return null;
    for (const { volume } of disks) world.unclearVolumes.add(volume);
    return choices.of('libvirtd dies', ['before the switch', 'after the switch']);
  };
}
