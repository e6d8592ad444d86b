import { Aftercare } from '#app/aftercare.ts';
import { Inspector } from '#app/inspect.ts';
import { look } from '#app/look.ts';
import { Operator } from '#app/operate.ts';
import { Pulls } from '#app/pulls.ts';
import { Runner } from '#app/runner.ts';
import { Sender } from '#app/sender.ts';
import { Service } from '#app/service.ts';
import { parseHeader } from '#domain/qcow2.ts';
import type { Quiesce } from '#domain/quiesce.ts';
import type { AssistedSnapshots } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import type { Inspect } from '#ports/inspect.ts';
import type { Journal } from '#ports/journal.ts';
import type { Operate } from '#ports/operate.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Volumes } from '#ports/volumes.ts';
import { SimImages } from '../images.ts';
import type { SimShare } from '../share.ts';

/** Everything that the program sees of the world. */
export interface Ports {
  readonly hypervisor: Hypervisor;
  readonly volumes: Volumes;
  readonly images: Images;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

/** One process of the program, without its HTTP front. */
export interface Program {
  readonly service: AssistedSnapshots;
  readonly operator: Operate;
  readonly runner: Runner;
  readonly sender: Sender;
  readonly aftercare: Aftercare;
  readonly inspector: Inspect;
  /** Takes up what an earlier process left. */
  resume(): Promise<void>;
  /** Finishes what is in flight. */
  stop(): Promise<void>;
}

/** As configured when nobody configures anything. */
export const CREATE_TIMEOUT_MS = 540_000;
export const MAX_CHAIN_DEPTH = 64;

/** The program over these ports; `die` is what ends its process when it contradicts itself. */
export function program(bare: Ports, quiesce: Quiesce, die: (defect: unknown) => void): Program {
  const { clock } = bare;
  const pulls = new Pulls(clock);
  const ports = { ...bare, hypervisor: pulls.guard(bare.hypervisor) };
  const sender = new Sender(ports);
  const isDefect = () => true;
  const settings = { createTimeoutMs: CREATE_TIMEOUT_MS, pollMs: 1000, die, isDefect };
  const runner = new Runner({ ...ports, sender, ...settings });
  const limits = { maxChainDepth: MAX_CHAIN_DEPTH, quiesce };
  const service = new Service({ ...ports, clock, runner, sender, limits });
  const aftercare = new Aftercare({ ...ports, runner, die });
  const operator = new Operator({ ...ports, runner, sender, service });
  const inspector = new Inspector({ ...ports, look, limits });
  const resume = async () => {
    await runner.resume((open) => pulls.expect(open));
    await aftercare.resume();
  };
  const stop = async () => {
    await Promise.all([aftercare.stop(), runner.stop(), sender.stop()]);
  };
  return { service, operator, inspector, runner, sender, aftercare, resume, stop };
}

/** What the libvirt hook judges by: a test holds it to these very words. */
export { judgeBoot } from '#domain/known-chain.ts';

/** Headers as the program reads them. */
export const imagesOn = (share: SimShare): SimImages => new SimImages(share, parseHeader);
