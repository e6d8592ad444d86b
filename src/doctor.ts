import { ShareImages } from '#adapters/images/images.ts';
import { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import { ask, type Reply } from '#adapters/operator/client.ts';
import type { Check, DoctorOptions } from '#ports/doctor.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import { bad, fine, odd } from './check.ts';
import { restFor } from './composition.ts';
import { type Config, findSocket, type Loaded, loadConfig } from './config.ts';
import { qemuImg, service, statePath } from './doctor-host.ts';
import { cinderChecks, libvirtChecks } from './doctor-outside.ts';

/** What is looked at; a test has other ones. */
export interface DoctorWorld {
  readonly load: (files: readonly string[]) => Loaded;
  readonly hypervisor: (config: Config) => Promise<Hypervisor>;
  readonly images: Images;
  readonly qemuImg: () => Promise<Check>;
}

const REAL: DoctorWorld = {
  load: (files) => loadConfig({ files }),
  hypervisor: ({ libvirt }) => LibvirtHypervisor.connect(libvirt),
  images: new ShareImages(),
  qemuImg,
};

/**
 * Looks at everything that the service needs, by itself and without the service, and changes
 * nothing. What is wrong with each volume only the service can tell, for it has the journal.
 */
export async function doctor(
  { configFiles, socket }: DoctorOptions,
  world: DoctorWorld = REAL,
): Promise<readonly Check[]> {
  const loaded = world.load(configFiles);
  const config = configChecks(loaded, configFiles);
  const found = findSocket({ files: configFiles });
  const door = socket ?? (found.ok ? found.value : null);
  const volumes = async () => (door === null ? [] : volumeChecks(await ask(door, DIAGNOSES)));
  if (!loaded.ok) return [...config, ...(await volumes())];
  const all = await Promise.all([
    Promise.resolve([statePath(loaded.value)]),
    service(loaded.value, socket ?? loaded.value.operator.socket),
    libvirt(loaded.value, world),
    world.qemuImg().then((it) => [it]),
    cinder(loaded.value),
    volumes(),
  ]);
  return [...config, ...all.flat()];
}

const DIAGNOSES = '/v1/diagnoses';

function configChecks(loaded: Loaded, files: readonly string[]): readonly Check[] {
  const where = files.length === 0 ? 'the default files' : files.join(', ');
  const todo = `edit ${where}`;
  const warnings = loaded.warnings.map((it) => odd('config', it, todo));
  if (!loaded.ok) return [...loaded.error.map((it) => bad('config', it, todo)), ...warnings];
  return [fine('config', `${where}: every option is understood`), ...warnings];
}

async function libvirt(config: Config, world: DoctorWorld): Promise<readonly Check[]> {
  await using hypervisor = await world.hypervisor(config);
  return await libvirtChecks(hypervisor, world.images, config.libvirt);
}

async function cinder(config: Config): Promise<readonly Check[]> {
  await using rest = restFor(config.cinder);
  return await cinderChecks(rest, config.cinder);
}

interface Diagnosed {
  readonly volume: string;
  readonly server: string;
  readonly target: string;
  readonly reason: string | null;
  readonly findings: readonly {
    readonly code: string;
    readonly severity: 'error' | 'warning';
    readonly saw: string;
    readonly do: string;
  }[];
}

/** A row for each volume, or for each thing that is wrong with it. */
function volumeChecks(reply: Reply): readonly Check[] {
  if (reply.kind === 'away') return [];
  if (reply.kind === 'no')
    return [bad('volumes', reply.why, 'see the checks of libvirt and Cinder')];
  const { diagnoses } = reply.body as { readonly diagnoses: readonly Diagnosed[] };
  return diagnoses.flatMap(({ volume, server, target, reason, findings }) => {
    const it = `volume ${volume}`;
    if (reason !== null) return [odd(it, reason, `chainkeeper chain show ${volume}`)];
    if (findings.length === 0) return [fine(it, `all agree about ${target} of ${server}`)];
    return findings.map(({ code, severity, saw, do: todo }) => {
      return { check: it, status: severity, saw: `${code}: ${saw}`, todo };
    });
  });
}
