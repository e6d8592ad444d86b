import { ContainerModule } from 'inversify';
import { bindOutside, provide, TOKEN } from '#app/composition.ts';
import type { Config } from '#app/config.ts';
import { parseHeader } from '#domain/qcow2.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import type { Journal } from '#ports/journal.ts';
import type { Volumes } from '#ports/volumes.ts';
import type { SimCloud } from './cloud.ts';
import { SimImages } from './images.ts';

export interface Simulated {
  readonly cloud: SimCloud;
  readonly config: Config;
  readonly die: (defect: unknown) => void;
  /** Puts something between the program and each of its ports. */
  readonly hold?: <T extends object>(name: string, port: T) => T;
}

/** The whole program over a simulated machine; Cinder, simulated too, is spoken to over HTTP. */
export const simulated = ({ cloud, config, die, hold = asItIs }: Simulated): ContainerModule =>
  new ContainerModule(({ bind, onActivation }) => {
    bindOutside(bind, config, die);
    provide(bind, TOKEN.images, [], () => new SimImages(cloud.share, parseHeader));
    provide(bind, TOKEN.hypervisor, [], () => cloud.hypervisor);
    onActivation<Images>(TOKEN.images, (_, it) => hold('images', it));
    onActivation<Hypervisor>(TOKEN.hypervisor, (_, it) => hold('libvirt', it));
    onActivation<Journal>(TOKEN.journal, (_, it) => hold('journal', it));
    onActivation<Volumes>(TOKEN.volumes, (_, it) => hold('cinder', it));
  });

const asItIs = <T>(_name: string, port: T): T => port;
