import { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import { LIBVIRT_URI } from './libvirt.ts';

/** Ours on the lab's libvirtd, with nothing configured but how long an agent is waited for. */
export const hypervisorOfLab = (agentTimeoutMs = 3_000): Promise<LibvirtHypervisor> =>
  LibvirtHypervisor.connect({
    connectionUri: LIBVIRT_URI,
    bandwidthMib: 0,
    agentTimeoutMs,
    volumeDirectories: [],
  });
