import type { FileName } from '#domain/ids.ts';
import type { Operation } from '#ports/journal.ts';
import type { CloudDisk } from '../cloud.ts';
import { Choices } from './choices.ts';
import { attach } from './cinder-hands.ts';
import { Guests } from './guests.ts';
import { happenings, heal, Mischief } from './happenings.ts';
import { BytesLaws } from './law-bytes.ts';
import { FileLaws } from './law-files.ts';
import { FrozenLaws } from './law-frozen.ts';
import { HeardLaws } from './law-heard.ts';
import { LastingLaws } from './law-lasting.ts';
import { OfflineLaws } from './law-offline.ts';
import { PromiseLaws } from './law-promises.ts';
import { PullLaws } from './law-pulls.ts';
import { RequestLaws } from './law-requests.ts';
import { RestLaws } from './law-rest.ts';
import { WordLaws } from './law-words.ts';
import { CancelledMirrors } from './left-open.ts';
import { settle } from './operators.ts';
import { LONGEST_WAIT_MS, People, snapshotsOf } from './people.ts';
import { CREATE_TIMEOUT_MS, type Ports } from './program.ts';
import type { Broken } from './watcher.ts';
import { World } from './world.ts';

/** What one history was, for whoever counts. */
export interface Told {
  readonly seed: number;
  readonly broken: readonly Broken[];
  readonly defects: readonly unknown[];
  readonly operations: number;
  readonly digest: number;
  readonly faults: ReadonlyMap<string, number>;
  readonly sometimes: ReadonlyMap<string, number>;
  readonly choices: ReadonlyMap<string, number>;
  readonly lines: readonly string[];
}

/** What happens in a world until the faults are over. */
export type Tale = (world: World, guests: Guests, people: People) => Promise<unknown>;

export interface RunOptions {
  /** Told instead of what the choices make users, guests and operators do. */
  readonly tale?: Tale;
  /** Only these decisions are other than 0. */
  readonly only?: ReadonlyMap<string, number>;
  readonly recording?: boolean;
  /** What the program gets instead of its ports: for those who plant a bug in one. */
  readonly bind?: (ports: Ports) => Ports;
}

/** Law 17: two of the longest pauses between attempts, and what one attempt takes. */
const REST_WITHIN_MS = 2 * 60_000 + 60_000;

/** No history that comes to rest takes half as long. */
const LONGEST_MS = 96 * 3_600_000;

/** One history: chaos, then quiet, then everything must converge. */
export async function run(seed: number, options: RunOptions = {}): Promise<Told> {
  const choices = new Choices(seed, options.only ?? null);
  const { recording = false, bind = (ports: Ports) => ports } = options;
  const world = new World({ choices, recording, bind });
  const guests = new Guests(world);
  const people = new People(world);
  world.watchers.push(
    new OfflineLaws(world),
    new FileLaws(world),
    new BytesLaws(world, guests),
    new WordLaws(world),
  );
  world.watchers.push(
    new RequestLaws(world),
    new RestLaws(world),
    new LastingLaws(world),
    new Mischief(world, guests, people),
    new CancelledMirrors(world),
  );
  world.watchers.push(new HeardLaws(world), new PromiseLaws(world), new FrozenLaws(world));
  world.watchers.push(new PullLaws(world, guests));
  try {
    await world.clock.until(history(world, guests, people, options.tale ?? chaos), LONGEST_MS);
  } catch (error) {
    world.defects.push(error);
  }
  world.close();
  const { broken, defects, operations, digest, sometimes, lines, swarm } = world;
  const made = new Map([...choices.made].filter(([where]) => !where.startsWith('swarm: ')));
  const faults = swarm.seen;
  return { seed, broken, defects, operations, digest, faults, sometimes, choices: made, lines };
}

const chaos: Tale = (world, guests, people) =>
  Promise.all([people.live(), guests.live(), happenings(world, guests, people)]);

async function history(world: World, guests: Guests, people: People, tale: Tale): Promise<void> {
  await world.boot();
  await tale(world, guests, people);
  await heal(world, guests);
  world.tell('world', 'the faults are over');
  await attached(world);
  await rest(world);
  await people.done();
  await rest(world);
  for (const watcher of world.watchers) watcher.rest?.();
  await diagnosed(world);
  await settled(world);
  for (const { name, disks } of guests.kept) {
    const mine = world.cloud.disks.find(({ disk }) => disks.includes(disk));
    world.break(17, `the boot guard never lets ${name} start`, mine?.volume ?? null);
  }
  await again(world);
  for (const disk of world.cloud.disks) {
    if (!world.excuses.has(disk.volume)) await works(world, people, disk);
  }
  for (const disk of world.cloud.disks) {
    if (!world.excuses.has(disk.volume)) await people.tidy(disk);
  }
  await rest(world);
  for (const watcher of world.watchers) watcher.rest?.();
  for (const disk of world.cloud.disks) {
    const left = snapshotsOf(world, disk);
    // A guest whose other disk Cinder was misled to remove does not start again.
    if (left.length === 0 || world.excuses.has(disk.volume) || disk.guest.process === null)
      continue;
    const words = `snapshots cannot be deleted: ${left.map(({ status }) => status)}`;
    world.break(17, words, disk.volume);
  }
}

/** All volumes are given back to their servers, each once Cinder is done with it. */
async function attached(world: World): Promise<void> {
  const { clock, cloud } = world;
  const until = clock.now() + LONGEST_WAIT_MS;
  while (!cloud.disks.map((disk) => attach(world, disk)).every(Boolean)) {
    if (clock.now() > until) return world.break(17, 'a volume cannot be attached again', null);
    await clock.sleep(10_000);
  }
}

/** Until nothing is left to do or to say. */
async function rest(world: World): Promise<void> {
  const { clock, journal, cloud } = world;
  let until = Math.max(clock.now(), world.lateUntil) + REST_WITHIN_MS;
  // Counted anew by a process that starts: the wall clock may have been set back.
  const longest = until + CREATE_TIMEOUT_MS;
  while (clock.now() < until) {
    await clock.sleep(1_000);
    // A merge takes what it takes.
    if (cloud.disks.some(({ disk }) => disk.job !== null)) until += 1_000;
    if (clock.now() < longest && journal.all.some((one) => isWaitedFor(world, one))) until += 1_000;
    const open = journal.all.some(({ accepted, saga }) => accepted && saga.at !== 'end');
    const unsaid = journal.told.some(({ state }) => state === 'pending');
    const { program, doorway } = world;
    const cared = (program?.aftercare.watching ?? 0) === 0;
    // It looks for as long as Cinder takes to make up its mind.
    if (!cared) until += 1_000;
    const quiet = !open && !unsaid && cared && doorway.asking === 0 && program !== null;
    if (quiet && clock.now() > world.lateUntil) return;
  }
  world.break(17, 'the faults are over, and there is still something to do or to say', null);
}

/**
 * A switch that was never answered, and that nothing would keep from being made twice; or of an
 * encrypted volume whose guest is off, which nobody can switch then: until Cinder waits no more.
 */
const isWaitedFor = ({ cloud }: World, { saga }: Operation): boolean => {
  if (saga.kind !== 'create' || saga.at !== 'switching' || !saga.pending) return false;
  const disk = cloud.disks.find(({ volume }) => volume === saga.request.volume)?.disk;
  const sealed = disk?.top === null && disk.keys.size > 0;
  return sealed || cloud.share.home(null) !== saga.plan.directory;
};

/** Law 17: with nothing in the way a snapshot can be taken, unless the volume is one we refuse. */
async function works(world: World, people: People, disk: CloudDisk): Promise<void> {
  const { guest, volume, odd } = disk;
  if (guest.process === null || world.lost.has(volume)) return;
  const { status, problem } = await people.take(disk);
  world.saw('a snapshot is taken at rest');
  if (odd) {
    const refused = /^refused: {"kind":"(encrypted|unsupported-source)"/.test(problem ?? '');
    // Cinder probes before it asks, and does not ask then.
    const probed = problem?.includes('invalid backing file');
    if (!refused && !probed)
      world.break(27, `${volume} was not refused: ${status}, ${problem}`, volume);
    return;
  }
  if (status === 'available' || world.excuses.has(volume)) return;
  // A call that was never answered has come through: the job is ours, and nobody knows.
  if (world.unclearVolumes.has(volume) && problem?.includes('foreign-job')) return;
  // What was merged offline, with an old libvirt, is of a format that nobody can tell any more.
  const [, file = null] = /unknown-format","file":"([^"]+)/.exec(problem ?? '') ?? [];
  if (file !== null && !world.journal.recorded(volume).has(file as FileName)) return;
  world.break(17, `with nothing in the way a snapshot ended ${status}: ${problem}`, volume);
}

/**
 * Law 16, where it is for somebody else to keep: what Cinder attaches and the guest does not write
 * to is said to whoever asks, with what to do about it.
 */
async function diagnosed(world: World): Promise<void> {
  const { program, truths, cloud } = world;
  const drifted = truths.filter(({ it, attached, disk }) => {
    const [attachment] = cloud.cinder.attachmentsOf(it.volume);
    const names = attachment?.name ?? null;
    return attached && !it.odd && names !== null && names !== disk.top?.file.name && disk.top;
  });
  if (program === null || drifted.length === 0) return;
  const said = await program.inspector.diagnoses();
  if (!said.ok) return world.break(16, 'nobody can say what is wrong', null);
  for (const { it } of drifted) {
    world.saw('Cinder attaches another file than the guest writes to');
    const report = said.value.find(({ volume }) => volume === it.volume)?.report;
    const findings = report?.ok ? report.value.findings : [];
    const named = findings.some(({ code }) => code.startsWith('active-'));
    if (!named) world.break(16, `what Cinder attaches of ${it.volume} is not said`, it.volume);
  }
}

/** Somebody looks at what nobody could tell, and all the laws hold for what it has become. */
async function settled(world: World): Promise<void> {
  if (world.parked.size === 0) return;
  for (const { volume } of world.cloud.disks) await settle(world, volume, true);
  await rest(world);
  for (const watcher of world.watchers) watcher.rest?.();
}

/** Law 18: at rest, starting again changes nothing. */
async function again(world: World): Promise<void> {
  const { journal, excuses } = world;
  // What was asked and never accepted is dropped by whoever starts next. And who starts looks
  // again at creates that Cinder had not made up its mind about for as long as anyone waits.
  const lasting = ({ accepted, saga }: Operation) =>
    accepted && !(saga.kind === 'undo' && excuses.has(saga.request.volume));
  const pages = () => JSON.stringify([journal.all.filter(lasting), journal.told]);
  const before = pages();
  world.tell('world', 'the service is started again');
  world.life.end();
  await world.clock.sleep(5_000);
  await rest(world);
  if (before !== pages()) world.break(18, 'starting again changed the journal', null);
}
