import type { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import { Lanes } from '#adapters/libvirt/lanes.ts';
import { hypervisorOfLab } from '../lab/hypervisor.ts';
import type { Lab } from '../lab/lab.ts';
import { LIBVIRT_URI } from '../lab/libvirt.ts';
import { Starter } from '../lab/starter.ts';

/** What the guests of several histories share. */
export interface Machine {
  readonly hypervisor: LibvirtHypervisor;
  readonly lanes: Lanes;
  readonly starter: Starter;
  /** A folder for images that QEMU's user can reach. */
  readonly images: string;
}

/** Connections that close with the lab. */
export async function machineOf(lab: Lab<null>): Promise<Machine> {
  return {
    hypervisor: lab.keep(await hypervisorOfLab()),
    lanes: lab.keep(new Lanes(LIBVIRT_URI)),
    starter: lab.keep(await Starter.open(LIBVIRT_URI)),
    images: lab.images,
  };
}
