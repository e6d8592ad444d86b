import type { Fault } from '#domain/failure.ts';
import type { ServerId } from '#domain/ids.ts';
import { err, type Result } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { Happening, Hypervisor, SeenDisk } from '#ports/hypervisor.ts';
import { told } from '../overheard.ts';
import { CALL_FAULTS, type CallFaults } from './faults.ts';
import type { SeenCall } from './watcher.ts';
import type { World } from './world.ts';

/** One process of the program, as far as the world is concerned: it runs, or it never did more. */
export class Process {
  over = false;
  calls = 0;
  /** Whether it takes up what another one left. */
  readonly recovering: boolean;
  readonly #endings: (() => void)[] = [];

  constructor(recovering: boolean) {
    this.recovering = recovering;
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    for (const ending of this.#endings) ending();
  }

  atEnd(ending: () => void): void {
    this.#endings.push(ending);
  }
}

/** Whoever asks after the end hears nothing. Each his own: one for all would keep every world. */
const never = (): Promise<never> => new Promise(() => {});

const METHODS = {
  libvirt: [
    ...['look', 'disks', 'snapshot', 'thaw', 'merge', 'flush', 'unchain', 'about'],
    ...['commitActive', 'pivot', 'cancelCommit'],
  ],
  cinder: ['snapshot', 'snapshots', 'attachments', 'activeFile', 'update'],
  images: ['header', 'mend', 'copy', 'sync'],
  journal: [
    'ask',
    'accept',
    'drop',
    'commit',
    'unfinished',
    'operation',
    'operations',
    'evidence',
    'notices',
    'settle',
    'formats',
    'chain',
    'defect',
  ],
} as const;

/** How many calls of a new process count as its recovery. */
const RECOVERY = 30;
const WHO = { libvirt: 'libvirt', cinder: 'Cinder', images: 'the share', journal: 'us' } as const;

/**
 * A port as one process has it: each call can meet the faults that this world has for it, the
 * process can die before and after it, and whoever watches is told.
 */
export function heard<T extends object>(
  world: World,
  life: Process,
  port: SeenCall['port'],
  target: T,
): T {
  const faults: CallFaults = port === 'journal' ? {} : CALL_FAULTS[port];
  const face: Record<string, unknown> = {};
  for (const method of METHODS[port]) {
    const kinds = faults[method] ?? [];
    const does = Reflect.get(target, method) as (...args: unknown[]) => Promise<unknown>;
    face[method] = (...args: unknown[]) => {
      const call = { port, method, args };
      return called(world, life, call, kinds, () => does.apply(target, args));
    };
  }
  if (port === 'libvirt') {
    face.listen = (listener: (happening: Happening) => void) =>
      listening(world, life, target as unknown as Hypervisor, listener);
  }
  return Object.assign(face, { [Symbol.asyncDispose]: async () => {} }) as T;
}

async function called(
  world: World,
  life: Process,
  call: SeenCall,
  kinds: readonly string[],
  does: () => Promise<unknown>,
): Promise<unknown> {
  if (life.over) return never();
  const nth = ++life.calls;
  world.operations++;
  const early = life.recovering && nth <= RECOVERY;
  if (dies(world, life, 'killed before a call')) return never();
  if (early && dies(world, life, 'killed while it recovers')) return never();
  for (const watcher of world.watchers) watcher.calling?.(call);
  const isCommit = call.method === 'commit';
  if (isCommit && dies(world, life, 'killed before a commit is on disk')) return never();
  const answer = await fated(world, call, kinds, () => reach(world, call, does));
  if (isCommit && dies(world, life, 'killed after a commit is on disk')) return never();
  if (dies(world, life, 'killed after a call')) return never();
  if (life.over) return never();
  for (const watcher of world.watchers) watcher.back?.(call, answer);
  return answer;
}

function dies(world: World, life: Process, kind: string): boolean {
  if (life.over) return true;
  if (!world.swarm.strikes(kind)) return false;
  world.tell('world', `the service is ${kind}`);
  life.end();
  return true;
}

/** Makes the call, with what goes wrong on the way there or back. */
async function fated(
  world: World,
  call: SeenCall,
  kinds: readonly string[],
  does: () => Promise<unknown>,
): Promise<unknown> {
  const { port, method } = call;
  const away = world.away(port);
  if (away !== null) return err(away);
  let after: (() => Promise<unknown>) | null = null;
  for (const kind of kinds) {
    const name = `${port} ${method} ${kind}`;
    if (!world.swarm.strikes(name)) continue;
    world.tell('world', name);
    const who = WHO[port];
    const fault = (kind: Fault['kind']) =>
      err(
        kind === 'rejected'
          ? { kind, who, code: 403, detail: 'planted' }
          : { kind, who, detail: 'planted' },
      );
    switch (kind) {
      case 'unreachable':
        return fault('unreachable');
      case 'unknown':
      case 'lost before':
        world.unclear(call);
        return fault('unknown');
      case 'denied':
        return fault('rejected');
      case 'locked':
        // libvirt's state change lock was not free for 30 s (68, VIR_ERR_OPERATION_TIMEOUT).
        await world.clock.sleep(30_000);
        return err({ kind: 'rejected', who, code: 68, detail: 'cannot acquire state change lock' });
      case 'hangs':
        world.hang(serverOf(call));
        break;
      case 'slow':
        await world.clock.sleep(world.pause(`${name} for`));
        break;
      case 'late':
        world.unclear(call);
        world.later(world.pause(`${name} by`), does);
        return fault('unknown');
      case 'lost after':
        world.unclear(call);
        after = () => Promise.resolve(fault('unknown'));
        break;
      case 'slow answer': {
        const ms = world.pause(`${name} for`);
        after = () => world.clock.sleep(ms).then(() => null);
        break;
      }
    }
  }
  const answer = world.hangs(call) ? await stuck(world, call, does) : await does();
  return (await after?.()) ?? answer;
}

/** The adapter's own patience with libvirt, longer than libvirt's with a lock. */
const PATIENCE_MS = 45_000;

/** A call to a QEMU that hangs: nobody waits for it for ever, and it may go on all the same. */
async function stuck(world: World, call: SeenCall, does: () => Promise<unknown>): Promise<unknown> {
  const { cloud, clock } = world;
  const words = call.method === 'look' ? 'GetBlockInfo' : call.method;
  const reads = call.method === 'look';
  const going = reads ? does() : cloud.hypervisor.admit(call.args[0] as SeenDisk, words);
  const enough = new AbortController();
  const late = clock.sleep(PATIENCE_MS, enough.signal).then(() => LATE);
  const answer = await Promise.race([going, late]);
  enough.abort();
  if (answer === LATE) {
    world.saw('a call stuck in a QEMU that hangs');
    world.unclear(call);
    if (!reads) void going.then((then) => (then as Result<null, Fault>).ok && does());
    return err({ kind: 'unknown', who: 'libvirt', detail: `${call.method} did not come back` });
  }
  if (reads) return answer;
  const admitted = answer as Result<null, Fault>;
  if (!admitted.ok) world.saw(`a call to a QEMU that hangs ends with ${codeOf(admitted.error)}`);
  return admitted.ok ? does() : admitted;
}

const serverOf = ({ args }: SeenCall): ServerId => (args[0] as SeenDisk).server;

const LATE = Symbol('late');
const codeOf = (fault: Fault) => (fault.kind === 'rejected' ? fault.code : fault.kind);

/** The call arrives: from here to its answer nothing of it is lost. */
async function reach(world: World, call: SeenCall, does: () => Promise<unknown>): Promise<unknown> {
  for (const watcher of world.watchers) watcher.reaching?.(call);
  // The sims change what they change before they first wait.
  const answering = does();
  const answer = await answering;
  for (const watcher of world.watchers) watcher.reached?.(call, answer);
  if (world.recording) {
    const words = [call.method, ...call.args.map(told)].join(' ');
    world.tell(call.port, `${words} → ${told(answer)}`);
  } else world.tell(call.port, call.method);
  return answer;
}

function listening(
  world: World,
  life: Process,
  hypervisor: Hypervisor,
  listener: (happening: Happening) => void,
): () => void {
  const hear = (happening: Happening) => {
    if (!life.over) listener(happening);
  };
  const stop = hypervisor.listen((happening) => {
    const { swarm } = world;
    if (life.over || swarm.strikes('event lost')) return;
    if (happening.kind === 'job' && swarm.strikes('event of another disk')) {
      hear({ ...happening, target: 'sdz', how: 'failed' });
    }
    if (swarm.strikes('event doubled')) hear(happening);
    if (!swarm.strikes('event delayed')) return hear(happening);
    void world.clock.sleep(world.pause('event delayed by')).then(() => hear(happening));
  });
  life.atEnd(stop);
  return stop;
}

/** The clock of one process, which stands still for it once it is over. */
export function clockOf(world: World, life: Process): Clock {
  const { clock } = world;
  const NEVER = new Promise<void>(() => {});
  return {
    now: () => clock.now() + world.skewMs,
    monotonic: () => clock.now(),
    sleep: (ms: number, signal?: AbortSignal) => {
      if (life.over) return NEVER;
      return clock.sleep(ms, signal).then(() => (life.over ? NEVER : undefined));
    },
    uuid: () => clock.uuid(),
    random: () => clock.random(),
  };
}
