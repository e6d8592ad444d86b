import { ShareImages } from '#adapters/images/images.ts';
import { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import { ask, type Reply } from '#adapters/operator/client.ts';
import type { Check, DoctorOptions } from '#ports/doctor.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import { bad, fine, odd } from './check.ts';
import { type Config, findSocket, type KeystoneConfig, type Loaded, loadConfig } from './config.ts';
import { type Asking, qemuImg, service, statePath } from './doctor-host.ts';
import { neighbours } from './doctor-neighbours.ts';
import { cinderChecks, keystoneChecks, libvirtChecks } from './doctor-outside.ts';
import { restFor, sessionFor } from './identity.ts';

/** What is looked at; a test has other ones. */
export interface DoctorWorld {
  readonly load: (files: readonly string[], cloud?: string) => Loaded;
  readonly hypervisor: (config: Config) => Promise<Hypervisor>;
  readonly images: Images;
  readonly qemuImg: () => Promise<Check>;
  readonly neighbours: (statePath: string | null) => readonly Check[];
  /** How long the service has for an answer: it decides within 8 s, and a person waits. */
  readonly patienceMs?: number;
}

const REAL: DoctorWorld = {
  load: (files, cloud) => loadConfig({ files, ...(cloud !== undefined && { cloud }) }),
  hypervisor: ({ libvirt }) => LibvirtHypervisor.connect(libvirt),
  images: new ShareImages(),
  qemuImg,
  neighbours: (statePath) => neighbours(statePath),
};

/**
 * Looks at everything that the service needs, by itself and without the service, and changes
 * nothing. What is wrong with each volume only the service can tell, for it has the journal.
 */
export async function doctor(
  { configFiles, socket, cloud }: DoctorOptions,
  world: DoctorWorld = REAL,
): Promise<readonly Check[]> {
  const loaded = world.load(configFiles, cloud);
  const { draft, doubtful } = loaded;
  const placed = findSocket({ files: configFiles });
  const door = socket ?? (placed.ok ? placed.value : null);
  const sure = (...groups: readonly string[]) => !groups.some((group) => doubtful.has(group));
  const unless = (it: string, group: string, look: () => Promise<readonly Check[]>) =>
    sure(group) ? look() : Promise.resolve([skipped(it, group)]);
  const { patienceMs = 10_000 } = world;
  const { found: files } = loaded.places;
  const trusted = { journal: sure('DEFAULT'), door: sure('api'), files };
  const all = await Promise.all([
    unless('state_path', 'DEFAULT', async () => [statePath(draft)]),
    door === null
      ? [skipped('service', 'operator')]
      : served(door, draft, { ...trusted, patienceMs }),
    unless('libvirt', 'libvirt', () => libvirt(draft, world)),
    world.qemuImg().then((it) => [it]),
    world.neighbours(trusted.journal ? draft.statePath : null),
    unless('cinder', 'cinder', () => cinder(draft)),
    draft.keystone === null ? [] : keystone(draft.keystone),
  ]);
  return [...configChecks(loaded), ...all.flat()];
}

/** One that hangs is not asked again: a person waits for this. */
async function served(door: string, draft: Config, trusted: Asking): Promise<readonly Check[]> {
  const { rows, silent } = await service(draft, door, trusted);
  return silent ? rows : [...rows, ...volumeChecks(await ask(door, DIAGNOSES))];
}

const DIAGNOSES = '/v1/diagnoses';

const skipped = (it: string, group: string): Check =>
  odd(it, `not looked at: what [${group}] says is not known`, "see 'config'");

/** What is wrong with the files, by themselves: `chainkeeper config validate`. */
export function configChecks(loaded: Loaded): readonly Check[] {
  const { sought, found, none } = loaded.places;
  const nothing = `there is no file: neither ${sought.join(' nor ')}`;
  const where = found.length === 0 ? (sought[0] ?? '') : found.join(', ');
  const todo = `edit ${where}`;
  const warnings = loaded.warnings.map((it) => odd('config', it, todo));
  if (loaded.ok) {
    const files = none ? `${nothing}, and the environment is enough` : where;
    const saw = warnings.length === 0 ? 'every option is understood' : 'it can be used';
    return [fine('config', `${files}: ${saw}`), ...warnings];
  }
  const first = none ? [bad('config', nothing, `chainkeeper config sample > ${where}`)] : [];
  return [...first, ...loaded.error.map((it) => bad('config', it, todo)), ...warnings];
}

async function libvirt(config: Config, world: DoctorWorld): Promise<readonly Check[]> {
  await using hypervisor = await world.hypervisor(config);
  return await libvirtChecks(hypervisor, world.images, config.libvirt);
}

async function cinder(config: Config): Promise<readonly Check[]> {
  await using rest = restFor(config.cinder);
  return await cinderChecks(rest, config.cinder);
}

async function keystone(config: KeystoneConfig): Promise<readonly Check[]> {
  await using session = sessionFor(config.login, config, false);
  return await keystoneChecks(session);
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
