/**
 * chainkeeper as a library: for an agent that has its own way to libvirt or to Cinder, and for
 * tests of whatever talks to either. What is exported here keeps its meaning within a major
 * version; files below it may move. Three layers, to take as much of as one needs:
 *
 * - the domain, pure and synchronous: what a create or a delete makes of a chain, which formats
 *   that leaves, what Cinder is to be told in which dialect, whether an overlay may be used;
 * - the ports, as types: implement one, and bind it with `provide` in a module of your own;
 * - the program: `compose(production(config, die))` is what `chainkeeper serve` runs.
 */
export type * from '#domain/chain.ts';
export {
  afterCreate,
  afterMerge,
  agrees,
  changedBy,
  filesOf,
  formatsOf,
  layersOf,
} from '#domain/chain.ts';
export type * from '#domain/failure.ts';
export { explain, explainFault } from '#domain/failure.ts';
export type * from '#domain/ids.ts';
export { fileName, QCOW2, RAW } from '#domain/ids.ts';
export type * from '#domain/known-chain.ts';
export { judgeBoot } from '#domain/known-chain.ts';
export type * from '#domain/overlay.ts';
export { judgeOverlay } from '#domain/overlay.ts';
export type * from '#domain/plan-create.ts';
export { planCreate } from '#domain/plan-create.ts';
export type * from '#domain/plan-delete.ts';
export { planDelete } from '#domain/plan-delete.ts';
export type * from '#domain/qcow2.ts';
export { parseHeader } from '#domain/qcow2.ts';
export type * from '#domain/result.ts';
export { err, ok } from '#domain/result.ts';
export type * from '#domain/sight.ts';
export type * from '#domain/status.ts';
export { DIALECTS, mayMove, speak, statusFor } from '#domain/status.ts';
export type * from '#ports/assisted-snapshots.ts';
export type * from '#ports/clock.ts';
export type * from '#ports/hypervisor.ts';
export type * from '#ports/images.ts';
export type * from '#ports/inspect.ts';
export type * from '#ports/journal.ts';
export type * from '#ports/operate.ts';
export type * from '#ports/telemetry.ts';
export type * from '#ports/volumes.ts';
export type { Hexagon, Settings } from './composition.ts';
export { compose, production, provide, TOKEN, wrapped } from './composition.ts';
export type { Config } from './config.ts';
export { loadConfig } from './config.ts';
export { listen } from './listen.ts';
export { StartupProblem } from './startup-problem.ts';
