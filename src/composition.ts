import { join } from 'node:path';
import { type Bind, Container, ContainerModule } from 'inversify';
import type { Rest } from '#adapters/cinder/rest.ts';
import { CinderVolumes } from '#adapters/cinder/volumes.ts';
import { ShareImages } from '#adapters/images/images.ts';
import { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import { OsloLog } from '#adapters/operator/log.ts';
import { Metrics } from '#adapters/operator/prometheus.ts';
import { version } from '#adapters/operator/version.ts';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { isPassing } from '#adapters/sqlite/opening.ts';
import { codeOf, whyNot } from '#adapters/system/access.ts';
import { systemClock } from '#adapters/system/clock.ts';
import type { Limits } from '#domain/plan-create.ts';
import type { AssistedSnapshots } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import type { Inspect } from '#ports/inspect.ts';
import type { Journal } from '#ports/journal.ts';
import type { Measures } from '#ports/measures.ts';
import type { Operate } from '#ports/operate.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Volumes } from '#ports/volumes.ts';
import { Aftercare } from './aftercare.ts';
import type { Config } from './config.ts';
import { Housekeeping } from './housekeeping.ts';
import { restFor } from './identity.ts';
import { Inspector } from './inspect.ts';
import { look } from './look.ts';
import { Meter } from './measures.ts';
import { Operator } from './operate.ts';
import { ProgressBook } from './progress.ts';
import { Pulls } from './pulls.ts';
import { Runner } from './runner.ts';
import { Sender } from './sender.ts';
import { Service } from './service.ts';
import { StartupProblem } from './startup-problem.ts';

/** A symbol that remembers its type. inversify's own let any factory take any symbol. */
export type Token<T> = symbol & { readonly stands?: (it: T) => T };
type Tokens<Types extends unknown[]> = { [I in keyof Types]: Token<Types[I]> };
const token = <T>(name: string): Token<T> => Symbol(name);

/** What the program needs to know besides its ports. */
export interface Settings {
  readonly limits: Limits;
  readonly createTimeoutMs: number;
  readonly pollMs: number;
  readonly die: (defect: unknown) => void;
  readonly isDefect: (thrown: unknown) => boolean;
}

export const TOKEN = {
  hypervisor: token<Hypervisor>('Hypervisor'),
  volumes: token<Volumes>('Volumes'),
  images: token<Images>('Images'),
  journal: token<Journal>('Journal'),
  clock: token<Clock>('Clock'),
  telemetry: token<Telemetry>('Telemetry'),
  settings: token<Settings>('Settings'),
  rest: token<Rest>('Rest'),
  sender: token<Sender>('Sender'),
  runner: token<Runner>('Runner'),
  aftercare: token<Aftercare>('Aftercare'),
  housekeeping: token<Housekeeping>('Housekeeping'),
  service: token<Service>('Service'),
  assisted: token<AssistedSnapshots>('AssistedSnapshots'),
  operate: token<Operate>('Operate'),
  inspect: token<Inspect>('Inspect'),
  progress: token<ProgressBook>('ProgressBook'),
  meter: token<Meter>('Meter'),
  pulls: token<Pulls>('Pulls'),
};

/** The only wiring verb: `it`, made once, from these, like so. */
export function provide<T, From extends unknown[]>(
  bind: Bind,
  it: Token<T>,
  from: Tokens<From>,
  make: (...from: From) => T | Promise<T>,
): void {
  bind<T>(it)
    .toResolvedValue<From>(make, from as never)
    .inSingletonScope();
}

/** The hexagon: the same over the real world and over a simulated one. */
export const core = new ContainerModule(({ bind }) => {
  const { hypervisor, images, volumes, journal, clock, telemetry } = TOKEN;
  const { sender, runner, settings } = TOKEN;
  provide(bind, TOKEN.progress, [clock], (clock) => new ProgressBook(() => clock.monotonic()));
  provide(bind, TOKEN.meter, [clock, TOKEN.progress], (clock, progress) => {
    return new Meter({ metrics: new Metrics(), progress, clock, version: version() });
  });
  provide(bind, TOKEN.pulls, [clock], (clock) => new Pulls(clock));
  provide(bind, sender, [volumes, journal, clock, telemetry], (...ports) => {
    const [volumes, journal, clock, telemetry] = ports;
    return new Sender({ volumes, journal, clock, telemetry });
  });
  provide(
    bind,
    runner,
    [hypervisor, images, volumes, journal, clock, telemetry, sender, settings],
    (hypervisor, images, volumes, journal, clock, telemetry, sender, settings) => {
      const { createTimeoutMs, pollMs, die, isDefect } = settings;
      const ports = { hypervisor, images, volumes, journal, clock, telemetry };
      return new Runner({ ...ports, sender, createTimeoutMs, pollMs, die, isDefect });
    },
  );
  provide(
    bind,
    TOKEN.aftercare,
    [hypervisor, volumes, journal, clock, telemetry, runner, settings],
    (hypervisor, volumes, journal, clock, telemetry, runner, { die }) =>
      new Aftercare({ hypervisor, volumes, journal, clock, telemetry, runner, die }),
  );
  provide(
    bind,
    TOKEN.housekeeping,
    [journal, clock, settings],
    (journal, clock, { die }) => new Housekeeping({ journal, clock, die }),
  );
  provide(
    bind,
    TOKEN.service,
    [hypervisor, images, volumes, journal, clock, runner, sender, settings],
    (hypervisor, images, volumes, journal, clock, runner, sender, { limits }) =>
      new Service({ hypervisor, images, volumes, journal, clock, runner, sender, limits }),
  );
  provide(bind, TOKEN.assisted, [TOKEN.service], (service) => service);
  provide(
    bind,
    TOKEN.operate,
    [hypervisor, images, volumes, journal, clock, telemetry, runner, sender, TOKEN.service],
    (hypervisor, images, volumes, journal, clock, telemetry, runner, sender, service) => {
      const ports = { hypervisor, images, volumes, journal, clock, telemetry };
      return new Operator({ ...ports, runner, sender, service });
    },
  );
  provide(
    bind,
    TOKEN.inspect,
    [hypervisor, images, volumes, journal, settings, TOKEN.progress],
    (hypervisor, images, volumes, journal, { limits }, book) => {
      const world = { hypervisor, images, volumes, journal };
      return new Inspector({ ...world, look, limits, progress: (volume) => book.of(volume) });
    },
  );
});

/** Puts something between a port and those who use it: faults, a log, a test's probe. */
export const wrapped = <T>(it: Token<T>, wrap: (made: T) => T): ContainerModule =>
  new ContainerModule(({ onActivation }) => onActivation<T>(it, (_, made) => wrap(made)));

/** libvirt, Cinder, the share and SQLite, as the configuration names them. */
export const production = (config: Config, die: Settings['die']): ContainerModule =>
  new ContainerModule(({ bind }) => {
    bindOutside(bind, config, die);
    provide(bind, TOKEN.images, [], () => new ShareImages());
    provide(bind, TOKEN.hypervisor, [], () => LibvirtHypervisor.connect(config.libvirt));
  });

/** All of the real world but the machine: Cinder over HTTP, the journal, the clock and the log. */
export function bindOutside(bind: Bind, config: Config, die: Settings['die']): void {
  const { volumes, journal, clock, telemetry, rest, settings } = TOKEN;
  provide(bind, settings, [], () => settingsOf(config, die));
  provide(bind, clock, [], () => systemClock);
  provide(bind, telemetry, [], () => openLog(config));
  provide(bind, journal, [clock], (clock) => openJournal(config, clock));
  provide(bind, rest, [], () => restFor(config.cinder));
  provide(bind, volumes, [rest, telemetry], (rest, telemetry) => {
    return new CinderVolumes({ rest, telemetry, dialect: config.cinder.statusDialect });
  });
}

export const settingsOf = (config: Config, die: Settings['die']): Settings => ({
  limits: { maxChainDepth: config.libvirt.maxChainDepth, quiesce: config.libvirt.quiesce },
  createTimeoutMs: config.cinder.createTimeoutMs,
  pollMs: 1000,
  die,
  isDefect: (thrown) => !isPassing(thrown),
});

function openJournal(config: Config, clock: Clock): Journal {
  const journal = SqliteJournal.open(join(config.statePath, 'journal.sqlite'), clock);
  if (!journal.ok) throw new StartupProblem(journal.error);
  return journal.value;
}

function openLog(config: Config): OsloLog {
  try {
    return new OsloLog({ ...config, file: config.logFile });
  } catch (error) {
    const why = whyNot(codeOf(error));
    throw new StartupProblem(`The log_file ${config.logFile} cannot be written to: ${why}.`);
  }
}

/** The running hexagon. Closing it stops what drives the ports before the ports themselves. */
export interface Hexagon extends AsyncDisposable {
  readonly assisted: AssistedSnapshots;
  readonly inspect: Inspect;
  readonly operate: Operate;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly measures: Measures;
  readonly hypervisor: Hypervisor;
}

/** Builds everything, takes up what an earlier process left, and answers what can be called. */
export async function compose(...modules: readonly ContainerModule[]): Promise<Hexagon> {
  const container = new Container();
  await container.load(core, ...modules);
  await using building = new AsyncDisposableStack();
  const meter = await container.getAsync<Meter>(TOKEN.meter);
  building.defer(() => meter.stop());
  const pulls = await container.getAsync<Pulls>(TOKEN.pulls);
  // Outermost: what is measured is what the program waits for.
  await container.load(
    wrapped(TOKEN.hypervisor, (made) => pulls.guard(made)),
    wrapped(TOKEN.hypervisor, (made) => meter.hypervisor(made)),
    wrapped(TOKEN.journal, (made) => meter.journal(made)),
    wrapped(TOKEN.images, (made) => meter.images(made)),
  );
  // inversify would deactivate in the order of binding, which is not the reverse of building.
  // `use` refuses a proxy's bound method (Node 24.21), and ports come wrapped in tests.
  const closing = async <T extends AsyncDisposable>(it: Token<T>): Promise<T> => {
    const made = await container.getAsync<T>(it);
    building.defer(() => made[Symbol.asyncDispose]());
    return made;
  };
  await closing(TOKEN.journal);
  const hypervisor = await closing(TOKEN.hypervisor);
  if (container.isBound(TOKEN.rest)) await closing(TOKEN.rest);
  const sender = await container.getAsync<Sender>(TOKEN.sender);
  building.defer(() => sender.stop());
  const runner = await container.getAsync<Runner>(TOKEN.runner);
  building.defer(() => runner.stop());
  const aftercare = await container.getAsync<Aftercare>(TOKEN.aftercare);
  building.defer(() => aftercare.stop());
  const housekeeping = await container.getAsync<Housekeeping>(TOKEN.housekeeping);
  building.defer(() => housekeeping.stop());
  const hexagon = {
    assisted: await container.getAsync<AssistedSnapshots>(TOKEN.assisted),
    inspect: await container.getAsync<Inspect>(TOKEN.inspect),
    operate: await container.getAsync<Operate>(TOKEN.operate),
    clock: await container.getAsync<Clock>(TOKEN.clock),
    telemetry: await container.getAsync<Telemetry>(TOKEN.telemetry),
    measures: meter,
    runner,
    hypervisor,
  };
  await runner.resume((open) => pulls.expect(open));
  await aftercare.resume();
  housekeeping.start();
  const running = building.move();
  return { ...hexagon, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
