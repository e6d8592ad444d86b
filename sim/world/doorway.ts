import { type FileName, RAW, type SnapshotId } from '#domain/ids.ts';
import { err } from '#domain/result.ts';
import type {
  Answer,
  AssistedCreate,
  AssistedDelete,
  AssistedSnapshots,
  Caller,
} from '#ports/assisted-snapshots.ts';
import type { Process } from './ears.ts';
import { OVERLAY_LIES } from './faults.ts';
import { abortOne } from './operators.ts';
import type { Asked } from './watcher.ts';
import type { World } from './world.ts';

/** What comes twice is seldom long apart; see 'request of long ago' for the rest. */
const SOON_MS = [10, 0, 120, 700, 2_500, 31_000] as const;

/**
 * The way from Cinder to the service: requests come late, twice, with an overlay that is not what
 * it should be, and their answers get lost.
 */
export class Doorway {
  /** All that was ever asked. */
  readonly past: { asked: Asked; caller: Caller }[] = [];
  /** Requests that have not been answered. */
  asking = 0;
  /** Overlays that were made to lie on the way. */
  readonly spoiled = new Set<FileName>();
  readonly #world: World;

  /** Some Cinders ask everything twice, and some have lost track of the chain. */
  readonly #stutters: boolean;
  readonly #strays: boolean;
  readonly #misled = new Set<SnapshotId>();

  constructor(world: World) {
    this.#world = world;
    this.#stutters = world.choices.pick('requests come twice', 6) === 5;
    this.#strays = world.choices.pick('Cinder is astray', 6) === 5;
  }

  open(life: Process, service: AssistedSnapshots): AssistedSnapshots {
    const ask = (asked: Asked, caller: Caller) => this.#ask(asked, caller, life, service);
    const arrival = ({ requestId }: Caller) => ({ requestId, at: this.#world.clock.now() });
    return {
      create: (request, caller) => ask({ kind: 'create', ...request, ...arrival(caller) }, caller),
      delete: (request, caller) => ask({ kind: 'delete', ...request, ...arrival(caller) }, caller),
    };
  }

  async #ask(
    meant: Asked,
    caller: Caller,
    life: Process,
    service: AssistedSnapshots,
  ): Promise<Answer> {
    const { swarm, clock, choices } = this.#world;
    const asked = this.#astray(meant);
    if (asked.kind === 'create') this.#spoil(asked.newFile);
    this.past.push({ asked, caller });
    if (swarm.strikes('request delayed'))
      await clock.sleep(this.#world.pause('request delayed by'));
    if (swarm.strikes('request doubled') || (this.#stutters && !swarm.quiet)) {
      this.#world.later(choices.of('request doubled after', SOON_MS), () => this.again(asked));
    }
    const answer = await this.#answered(asked, caller, life, service);
    if (!swarm.strikes('answer lost')) return answer;
    this.#world.tell('world', 'the answer is lost');
    return BROKEN;
  }

  /** Cinder has lost track of the chain, and asks for what nobody may do. */
  #astray(asked: Asked): Asked {
    const { cloud } = this.#world;
    if (asked.kind === 'create') {
      const raw = [...cloud.share.files.values()].find(({ format }) => format === RAW);
      const { quiet } = this.#world.swarm;
      if (raw === undefined || quiet || !this.#stray('request for a raw file')) return asked;
      return { ...asked, newFile: raw.name };
    }
    const { fileToMerge, mergeTarget } = asked;
    const lower = mergeTarget ?? fileToMerge;
    const below = lower && ((cloud.share.file(lower)?.header?.backing ?? null) as FileName | null);
    // Only a pull can go down to nothing.
    if (lower === null || (below === null && mergeTarget !== null)) return asked;
    // Once for each snapshot, so that what is tried again when the faults are over can succeed.
    if (this.#misled.has(asked.snapshot)) return asked;
    if (!this.#stray('request for two layers at once')) return asked;
    this.#misled.add(asked.snapshot);
    return mergeTarget === null
      ? { ...asked, fileToMerge: below }
      : { ...asked, mergeTarget: below };
  }

  #stray(kind: string): boolean {
    const { choices, swarm } = this.#world;
    if (!this.#strays || choices.pick(kind, 3) !== 2) return false;
    swarm.saw(kind);
    this.#world.tell('world', kind);
    return true;
  }

  /** Something is wrong with the overlay that Cinder has just made. */
  #spoil(name: FileName): void {
    const { share } = this.#world.cloud;
    const file = share.file(name);
    for (const lie of OVERLAY_LIES) {
      if (file?.header == null || !this.#world.swarm.strikes(`overlay ${lie}`)) continue;
      const plain = lie === 'is encrypted' && file.luks;
      this.#world.tell('world', `${name} ${plain ? 'is not encrypted' : lie}`);
      if (plain) this.#world.saw('a plain overlay over an encrypted volume');
      this.spoiled.add(name);
      if (lie === 'is not there') share.files.delete(name);
      else if (lie === 'is encrypted') file.luks = !plain;
      else if (lie in ACCESS) file.access = ACCESS[lie as keyof typeof ACCESS];
      else file.header = { ...file.header, ...LIES[lie] };
      if (file.header !== null) file.clusters = file.header.clusters;
    }
  }

  /** The same request once more, from wherever it was kept. */
  async again(asked: Asked): Promise<void> {
    const { life, program, clock } = this.#world;
    if (program === null || life.over) return;
    const requestId = `req-${clock.uuid()}`;
    const caller = { requestId, globalRequestId: null };
    const now = { ...asked, requestId, at: clock.now() };
    await this.#answered(now, caller, life, program.service);
  }

  /** Somebody sees that it should not have been asked. */
  #regret(answer: Answer): void {
    const { swarm, choices } = this.#world;
    if (!answer.ok || answer.value.operation === null) return;
    if (!swarm.strikes('operator aborts what was just asked')) return;
    const { operation } = answer.value;
    this.#world.later(choices.of('aborted after', SOON_MS), () => abortOne(this.#world, operation));
  }

  async #answered(
    asked: Asked,
    caller: Caller,
    life: Process,
    service: AssistedSnapshots,
  ): Promise<Answer> {
    if (life.over) return BROKEN;
    const request = { ...asked, at: this.#world.clock.now() };
    for (const watcher of this.#world.watchers) watcher.asked?.(request);
    const ended = new Promise<Answer>((resolve) => life.atEnd(() => resolve(BROKEN)));
    const { kind, at: _at, requestId: _id, ...bare } = asked;
    const answering =
      kind === 'create'
        ? service.create(bare as AssistedCreate, caller)
        : service.delete(bare as AssistedDelete, caller);
    this.asking++;
    const answer = await Promise.race([answering, ended]);
    this.asking--;
    if (life.over) return BROKEN;
    for (const watcher of this.#world.watchers) watcher.answered?.(request, answer);
    this.#world.tell('answer', `${asked.kind} ${asked.snapshot}: ${said(answer)}`);
    this.#regret(answer);
    return answer;
  }
}

/** What the machine lets nobody do with the file. */
const ACCESS = {
  'is a folder': 'folder',
  'may not be opened': 'forbidden',
  'is immutable': 'immutable',
} as const;

const LIES: Readonly<Partial<Record<(typeof OVERLAY_LIES)[number], object>>> = {
  'names another backing file': { backing: 'volume-of-another' },
  'names another format': { format: 'vmdk' },
  'names no format': { format: null },
  'has a data file': { features: 4 },
  'is corrupt': { features: 2 },
  'has unknown features': { features: 64 },
  'has another size': { clusters: 3 },
  'names a path outside': { backing: '/etc/shadow', format: 'raw' },
};

const BROKEN: Answer = err({
  kind: 'fault',
  fault: { kind: 'unknown', who: 'Cinder', detail: 'connection reset' },
});

function said(answer: Answer): string {
  if (answer.ok) return answer.value.operation ?? 'nothing to do';
  const { error } = answer;
  return error.kind === 'refused'
    ? `refused: ${error.refusal.kind}`
    : `fault: ${error.fault.detail}`;
}
