import { expect, test } from 'vitest';
import { afterMerge, complete, filesOf, type Layer, type Merge } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import { type FileName, type Format, QCOW2, type ServerId, type VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { DiskView } from '#domain/sight.ts';
import type { DiskOf, Happening, Hypervisor, SeenDisk } from '#ports/hypervisor.ts';
import { activeCommitLaws } from './active-commit.ts';

/**
 * One running guest with two disks, `volume` and `other`, each a base alone, in one directory.
 * The sim and the real libvirt offer the same; what a law says of one is believed of both.
 */
export interface HypervisorLab extends AsyncDisposable {
  readonly hypervisor: Hypervisor;
  readonly server: ServerId;
  readonly volume: VolumeId;
  readonly other: VolumeId;
  readonly base: FileName;
  readonly baseFormat: Format;
  readonly directory: string;
  /** True of a libvirt that leaves out the formats of backing layers. */
  readonly oldLibvirt: boolean;
  /**
   * Makes an empty overlay of the disk's size, or of so many clusters of 64 KiB, whose header says
   * this of its backing file.
   */
  overlay(
    name: string,
    says: { backing: string; format: Format | null; clusters?: number },
  ): Promise<FileName>;
  /** Makes a file that QEMU cannot use as an overlay: see `Unfit`. */
  unfit(name: string, how: Unfit): Promise<FileName>;
  /** The guest fills cluster `at` of `volume` (0 to 7, of 64 KiB) with `byte`; no flush follows. */
  write(at: number, byte: number): Promise<void>;
  /** The guest writes zeroes, so that the cluster hides what is below. */
  writeZeroes(at: number): Promise<void>;
  /** Of all that the guest reads from `volume`. */
  hash(): Promise<string>;
  /** What the backing name and format in a file's header are. */
  headerOf(file: FileName): Promise<{ backing: string | null; format: string | null }>;
  /** Returns when no job is left on `volume`. */
  idle(): Promise<void>;
  /** Returns when the active commit on `volume` is ready. */
  ready(): Promise<void>;
  /** Begins a merge that cannot end by itself while the law runs. */
  startEndless(merge: Merge): Promise<void>;
  /** Somebody ends the job on `volume`. */
  cancel(): Promise<void>;
  /** The guest's processors are stopped, as its user stops them; or go on. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** QEMU is killed: SIGKILL. */
  kill(): Promise<void>;
  /** The guest is stopped in good order. */
  stop(): Promise<void>;
  /** The guest's memory is saved, and it is shut off. */
  save(): Promise<void>;
  /** Starts the guest from its disks' topmost files, the rest as their headers tell. */
  start(): Promise<void>;
  /** Starts it as it is configured, with all that libvirt has written down of its chains. */
  startAsConfigured(): Promise<void>;
}

/** `forbidden` has no mode bits; `encrypted` is qcow2 with LUKS inside, whose key nobody gives. */
export type Unfit = 'folder' | 'raw' | 'forbidden' | 'encrypted';

export type Open = () => Promise<HypervisorLab>;

type Files = Readonly<Record<'a' | 'b' | 'c' | 'base', FileName>>;
type Named = readonly [kind: 'pull' | 'commit', one: keyof Files | null, other: keyof Files | null];

/** The merges of a chain `c on b on a on base`, each with the name of its law. */
const MERGES: readonly (readonly [string, ...Named])[] = [
  ['a pull onto the layer below the next', 'pull', 'a', null],
  ['a pull onto the base', 'pull', 'base', null],
  ['a pull of everything', 'pull', null, null],
  ['a commit into an overlay', 'commit', 'b', 'a'],
  ['a commit into the base', 'commit', 'a', 'base'],
];

/** One of each kind, to be interrupted. */
const INTERRUPTED: readonly Named[] = [
  ['pull', 'a', null],
  ['commit', 'b', 'a'],
];

export function hypervisorContract(name: string, open: Open): void {
  unchainLaws(name, open);

  snapshotLaws(name, open);
  mergeLaws(name, open);
  jobLaws(name, open);
  activeCommitLaws(name, open);
  durabilityLaws(name, open);
  sightLaws(name, open);
}

function snapshotLaws(name: string, open: Open): void {
  test(`${name}: a snapshot puts an empty overlay on top and changes no byte`, async () => {
    await using lab = await open();
    await lab.write(1, 0x11);
    const bytes = await lab.hash();
    const before = await seen(lab);
    await snapshot(lab, 'a.qcow2');
    const after = await seen(lab);
    expect(after.chain).toEqual({ file: 'a.qcow2', format: QCOW2, on: below(lab, before) });
    expect(after).toMatchObject({ process: before.process, size: before.size, job: null });
    expect(await lab.hash()).toBe(bytes);
  });

  test(`${name}: where the chain settles it, neither size nor job is asked for`, async () => {
    await using lab = await open();
    const { process, chain, ...before } = await seen(lab);
    const { server, volume } = lab;
    const look = async (files: readonly FileName[], from = process) => {
      const settled = { process: from ?? '', chain: files };
      const view = await lab.hypervisor.look({ server, volume, settled });
      if (!view.ok || view.value.kind !== 'disk') throw new Error(JSON.stringify(view));
      return view.value;
    };
    const planned = ['a.qcow2' as FileName, ...filesOf(chain)];
    expect(await look(planned)).toEqual({ ...before, process, chain });
    await snapshot(lab, 'a.qcow2');
    const after = await seen(lab);
    expect(await look(planned)).toEqual({ ...after, size: null, job: null, unasked: true });
    expect(await look(planned, 'another QEMU')).toEqual(after);
    expect(await look(filesOf(chain))).toEqual(after);
    // While it is mirrored a file is active that will not be for long, and the XML says so.
    await snapshot(lab, 'b.qcow2');
    const files = filesOf((await seen(lab)).chain);
    await lab.hypervisor.commitActive({ ...(await orderFor(lab)), chain: files });
    expect((await look(files)).job).toMatchObject({ kind: 'active-commit' });
  });

  test(`${name}: taking the same snapshot twice is taking it once`, async () => {
    await using lab = await open();
    const order = await snapshotOrder(lab, 'a.qcow2');
    expect(await lab.hypervisor.snapshot(order)).toEqual(OK);
    const once = await seen(lab);
    expect(await lab.hypervisor.snapshot(order)).toEqual(OK);
    expect(await seen(lab)).toEqual(once);
  });

  test(`${name}: a file that is not there cannot be switched to`, async () => {
    await using lab = await open();
    const before = await seen(lab);
    const order = { ...(await orderFor(lab)), file: 'no.qcow2' as FileName };
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(38);
    expect(await seen(lab)).toEqual(before);
  });

  test(`${name}: a layer of the chain cannot become its own overlay`, async () => {
    await using lab = await open();
    const [, a] = await chainOf(lab, 2);
    const before = await seen(lab);
    const order = { ...(await orderFor(lab)), file: a as FileName };
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(1);
    expect(await seen(lab)).toEqual(before);
  });

  test(`${name}: a switch from a file that is no longer active is refused`, async () => {
    await using lab = await open();
    const order = await snapshotOrder(lab, 'b.qcow2');
    await snapshot(lab, 'a.qcow2');
    const before = await seen(lab);
    expect(await lab.hypervisor.snapshot(order)).toMatchObject(REJECTED);
    expect(await seen(lab)).toEqual(before);
  });

  test(`${name}: an overlay's header is not looked at until the next start`, async () => {
    await using lab = await open();
    await snapshot(lab, 'a.qcow2');
    await lab.write(2, 0x22);
    const lies = { backing: lab.base, format: lab.baseFormat };
    await snapshot(lab, 'b.qcow2', lies);
    const bytes = await lab.hash();
    expect(filesOf((await seen(lab)).chain)).toEqual(['b.qcow2', 'a.qcow2', lab.base]);
    await lab.stop();
    await lab.start();
    expect(filesOf((await seen(lab)).chain)).toEqual(['b.qcow2', lab.base]);
    expect(await lab.hash()).not.toBe(bytes);
  });
}

function mergeLaws(name: string, open: Open): void {
  test.each(MERGES)(`${name}: %s ends as predicted`, async (_, kind, one, other) => {
    await using lab = await open();
    const files = await written(lab);
    const merge = named(files, kind, one, other);
    const bytes = await lab.hash();
    const before = await layers(lab);
    const predicted = afterMerge(before, merge);
    if (!predicted.ok) throw new Error('no such merge');
    const heard = listen(lab);
    expect(await lab.hypervisor.merge(await mergeOrder(lab, merge))).toEqual(OK);
    await lab.idle();
    const { chain, job } = await seen(lab);
    expect(job).toBeNull();
    expect(filesOf(chain)).toEqual(filesOf(predicted.value));
    expect(await layers(lab)).toEqual(predicted.value);
    expect(await lab.hash()).toBe(bytes);
    expect(heard).toContainEqual({ kind: 'job', ...whose(lab), how: 'completed' });
  });

  test.each(MERGES)(`${name}: %s leaves relative names and true formats`, async (_, ...what) => {
    await using lab = await open();
    const files = await written(lab);
    const merge = named(files, ...what);
    await lab.hypervisor.merge(await mergeOrder(lab, merge));
    await lab.idle();
    for (let at: Layer | null = await layers(lab); at !== null; at = at.on) {
      if (at.format !== QCOW2) continue;
      const { on } = at;
      expect(await lab.headerOf(at.file)).toEqual({
        backing: on?.file ?? null,
        format: on?.format ?? null,
      });
    }
  });

  test(`${name}: a merge is only begun on the chain that was seen`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const order = await mergeOrder(lab, named(files, 'commit', 'a', 'base'));
    await snapshot(lab, 'd.qcow2');
    const before = await seen(lab);
    expect(await lab.hypervisor.merge(order)).toMatchObject(REJECTED);
    expect(await seen(lab)).toEqual(before);
  });

  test(`${name}: the active file is not committed away`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const before = await seen(lab);
    const merge = named(files, 'commit', 'c', 'b');
    expect(codeOf(await lab.hypervisor.merge(await mergeOrder(lab, merge)))).toBe(8);
    expect(await seen(lab)).toEqual(before);
  });

  test(`${name}: a merge leaves the guest's other disk alone`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const before = await seen(lab, lab.other);
    await lab.hypervisor.merge(await mergeOrder(lab, named(files, 'pull', null)));
    await lab.idle();
    expect(await seen(lab, lab.other)).toEqual(before);
  });
}

function jobLaws(name: string, open: Open): void {
  test(`${name}: a job is seen while it runs, and nothing else of it`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const before = await seen(lab);
    await lab.startEndless(named(files, 'pull', 'a'));
    const during = await seen(lab);
    expect(during.job).toMatchObject({ kind: 'pull' });
    expect(during.size).toBeNull();
    expect({ ...during, job: null, size: before.size }).toEqual(before);
    await lab.cancel();
  });

  test(`${name}: a guest that is looked at all the time lives through its pulls`, async () => {
    // QEMU 7.2.22 dies when all its nodes are read while a pull ends, as libvirt does for a size.
    await using lab = await open();
    const files = await written(lab);
    const { process } = await seen(lab);
    for (const onto of ['a', 'base', null] as const) {
      await lab.hypervisor.merge(await mergeOrder(lab, named(files, 'pull', onto)));
      while ((await seen(lab)).job !== null) if (name !== 'libvirt') await lab.idle();
      expect(await seen(lab)).toMatchObject({ process, job: null });
    }
  });

  test(`${name}: a second merge or a snapshot finds the disk busy`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const order = await snapshotOrder(lab, 'd.qcow2');
    await lab.startEndless(named(files, 'pull', 'a'));
    const merge = await mergeOrder(lab, named(files, 'commit', 'a', 'base'));
    expect(codeOf(await lab.hypervisor.merge(merge))).toBe(84);
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(84);
    expect(filesOf((await seen(lab)).chain)).toEqual([files.c, files.b, files.a, lab.base]);
    await lab.cancel();
  });

  test.each(INTERRUPTED)(
    `${name}: a cancelled %s leaves no job and the chain as it was`,
    async (...what) => {
      await using lab = await open();
      const files = await written(lab);
      const merge = named(files, ...what);
      const before = await seen(lab);
      const bytes = await lab.hash();
      const heard = listen(lab);
      await lab.startEndless(merge);
      await lab.cancel();
      expect(await seen(lab)).toEqual(before);
      expect(await lab.hash()).toBe(bytes);
      expect(heard).toContainEqual({ kind: 'job', ...whose(lab), how: 'canceled' });
      expect(await lab.hypervisor.merge(await mergeOrder(lab, merge))).toEqual(OK);
      await lab.idle();
      expect(filesOf((await seen(lab)).chain)).toHaveLength(3);
      expect(await lab.hash()).toBe(bytes);
    },
  );

  test(`${name}: a guest that dies takes its job along and says nothing of it`, async () => {
    await using lab = await open();
    const files = await written(lab);
    await flushed(lab);
    const bytes = await lab.hash();
    const heard = listen(lab);
    await lab.startEndless(named(files, 'commit', 'b', 'a'));
    await lab.kill();
    // That it is gone can be seen before the event has come.
    const gone = { kind: 'guest', server: lab.server };
    await expect.poll(() => heard, { timeout: 10_000 }).toContainEqual(gone);
    expect(heard.filter(({ kind }) => kind === 'job')).toEqual([]);
    await lab.start();
    const after = await seen(lab);
    expect(after.job).toBeNull();
    expect(filesOf(after.chain)).toEqual([files.c, files.b, files.a, lab.base]);
    expect(await lab.hash()).toBe(bytes);
  });

  test(`${name}: another process than the one seen is left alone`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const merge = await mergeOrder(lab, named(files, 'pull', 'a'));
    const overlay = await snapshotOrder(lab, 'd.qcow2');
    await lab.stop();
    await lab.start();
    const before = await seen(lab);
    expect(before.process).not.toBe(merge.process);
    expect(await lab.hypervisor.merge(merge)).toMatchObject(REJECTED);
    expect(await lab.hypervisor.snapshot(overlay)).toMatchObject(REJECTED);
    expect(await lab.hypervisor.flush(merge)).toMatchObject(REJECTED);
    expect(await seen(lab)).toEqual(before);
  });
}

function durabilityLaws(name: string, open: Open): void {
  test(`${name}: a pull that was not flushed loses data when QEMU is killed`, async () => {
    await using lab = await open();
    const files = await written(lab);
    await flushed(lab);
    const bytes = await lab.hash();
    await lab.hypervisor.merge(await mergeOrder(lab, named(files, 'pull', 'a')));
    await lab.idle();
    await lab.kill();
    await lab.start();
    expect(filesOf((await seen(lab)).chain)).toEqual([files.c, files.a, lab.base]);
    expect(await lab.hash()).not.toBe(bytes);
  });

  test.each(MERGES)(`${name}: %s keeps every byte once it was flushed`, async (_, ...what) => {
    await using lab = await open();
    const files = await written(lab);
    await flushed(lab);
    const bytes = await lab.hash();
    await lab.hypervisor.merge(await mergeOrder(lab, named(files, ...what)));
    await lab.idle();
    await flushed(lab);
    await lab.kill();
    await lab.start();
    expect(await lab.hash()).toBe(bytes);
  });

  test(`${name}: a commit is safe without a flush`, async () => {
    await using lab = await open();
    const files = await written(lab);
    await flushed(lab);
    const bytes = await lab.hash();
    await lab.hypervisor.merge(await mergeOrder(lab, named(files, 'commit', 'b', 'a')));
    await lab.idle();
    await lab.kill();
    await lab.start();
    expect(await lab.hash()).toBe(bytes);
  });
}

function sightLaws(name: string, open: Open): void {
  test(`${name}: formats are reported, or left out below the active file`, async () => {
    await using lab = await open();
    await chainOf(lab, 2);
    const { chain } = await seen(lab);
    const formats = [chain.format, chain.on?.format, chain.on?.on?.format];
    const all = [QCOW2, QCOW2, lab.baseFormat];
    expect(formats).toEqual(lab.oldLibvirt ? [QCOW2, null, null] : all);
  });

  test(`${name}: a guest or disk that is not here is absent, not a fault`, async () => {
    await using lab = await open();
    const { server, volume } = lab;
    const nobody = '00000000-0000-4000-8000-00000000dead';
    const why = async (disk: DiskOf) => {
      const view = await lab.hypervisor.look(disk);
      return view.ok && view.value.kind === 'absent' ? view.value.why.kind : view;
    };
    expect(await why({ server: nobody as ServerId, volume })).toBe('guest-not-found');
    expect(await why({ server, volume: nobody as VolumeId })).toBe('disk-not-found');
  });

  test(`${name}: a guest that is shut off is seen without a process`, async () => {
    await using lab = await open();
    await lab.stop();
    const off = await seen(lab);
    expect(off).toMatchObject({ process: null, job: null });
    expect(off.chain.file).toBe(lab.base);
  });

  test(`${name}: a guest whose memory was saved is seen to be so`, async () => {
    await using lab = await open();
    const { a, b, c, base } = await written(lab);
    const hash = await lab.hash();
    await lab.save();
    expect(await seen(lab)).toMatchObject({ process: null, saved: true });
    expect(await lab.hypervisor.unchain(await orderFor(lab))).toEqual(OK);
    await lab.startAsConfigured();
    expect(filesOf((await seen(lab)).chain)).toEqual([c, b, a, base]);
    expect(await seen(lab)).toMatchObject({ saved: false });
    expect(await lab.hash()).toBe(hash);
    await lab.stop();
    expect(await seen(lab)).toMatchObject({ process: null, saved: false });
  });

  test(`${name}: every disk with a serial is listed`, async () => {
    await using lab = await open();
    const listed = await lab.hypervisor.disks();
    const { server, volume, other } = lab;
    expect(listed).toMatchObject({ ok: true });
    const disks = listed.ok ? listed.value : [];
    const guest = expect.any(String);
    expect(disks).toContainEqual({ server, guest, volume, target: (await seen(lab)).target });
    const { target } = await seen(lab, other);
    expect(disks).toContainEqual({ server, guest, volume: other, target });
  });

  test(`${name}: it says what it is`, async () => {
    await using lab = await open();
    expect(await lab.hypervisor.about()).toMatchObject({
      ok: true,
      value: expect.stringMatching(/\d+\.\d+/),
    });
  });

  test(`${name}: who no longer listens hears nothing`, async () => {
    await using lab = await open();
    const heard: Happening[] = [];
    lab.hypervisor.listen((happening) => heard.push(happening))();
    await lab.stop();
    expect(heard).toEqual([]);
  });
}

/** Laws of the XML that a shut-off guest has. */
function unchainLaws(name: string, open: Open): void {
  test(`${name}: a shut-off guest's XML has the chain, until it is taken out`, async () => {
    await using lab = await open();
    const { a, b, c, base } = await written(lab);
    const hash = await lab.hash();
    await lab.stop();
    expect(filesOf((await seen(lab)).chain)).toEqual([c, b, a, base]);
    for (const _ of 'twice') {
      expect(await lab.hypervisor.unchain(await orderFor(lab))).toEqual(OK);
      const { chain, process } = await seen(lab);
      expect([filesOf(chain), process]).toEqual([[c], null]);
    }
    await lab.start();
    expect(filesOf((await seen(lab)).chain)).toEqual([c, b, a, base]);
    expect(await lab.hash()).toBe(hash);
  });

  test(`${name}: the XML of a running guest is not touched`, async () => {
    await using lab = await open();
    const before = await chainOf(lab, 2);
    const order = await orderFor(lab);
    expect(await lab.hypervisor.unchain(order)).toMatchObject(REJECTED);
    expect(await lab.hypervisor.unchain({ ...order, process: null })).toMatchObject(REJECTED);
    expect(filesOf((await seen(lab)).chain)).toEqual([...before].reverse());
  });
}

const OK = { ok: true, value: null };
const REJECTED = { ok: false, error: { kind: 'rejected', who: 'libvirt' } };

export async function seen(lab: HypervisorLab, volume = lab.volume): Promise<DiskView> {
  const view = await lab.hypervisor.look({ server: lab.server, volume });
  if (!view.ok || view.value.kind !== 'disk') throw new Error(JSON.stringify(view));
  return view.value;
}

/** What was seen, with the formats that an old libvirt leaves out. */
async function layers(lab: HypervisorLab): Promise<Layer> {
  const { chain } = await seen(lab);
  const whole = complete(chain, new Map([[lab.base, lab.baseFormat]]));
  if (!whole.ok) throw new Error(whole.error.kind);
  return unmarked(whole.value);
}

const unmarked = (layer: Layer): Layer => ({
  ...layer,
  provenance: 'reported',
  on: layer.on && unmarked(layer.on),
});

/** A view's chain, once something stands on it. */
const below = (lab: HypervisorLab, { chain }: DiskView) =>
  lab.oldLibvirt ? { ...chain, format: null } : chain;

export async function orderFor(lab: HypervisorLab, volume = lab.volume) {
  const { target, process, chain } = await seen(lab, volume);
  const disk: SeenDisk = { server: lab.server, volume, target, process };
  return { ...disk, directory: lab.directory, active: chain.file };
}

type Says = { readonly backing: string; readonly format: Format; readonly clusters?: number };

/** An order for a new overlay that tells the truth, unless it is given lies to tell. */
export async function snapshotOrder(lab: HypervisorLab, name: string, says?: Says) {
  const { file, format } = await layers(lab);
  return {
    ...(await orderFor(lab)),
    file: await lab.overlay(name, says ?? { backing: file, format }),
  };
}

export async function snapshot(lab: HypervisorLab, name: string, says?: Says): Promise<void> {
  const done = await lab.hypervisor.snapshot(await snapshotOrder(lab, name, says));
  expect(done).toEqual(OK);
}

export async function mergeOrder(lab: HypervisorLab, merge: Merge) {
  return { ...(await orderFor(lab)), merge, chain: filesOf((await seen(lab)).chain) };
}

async function flushed(lab: HypervisorLab): Promise<void> {
  expect(await lab.hypervisor.flush(await orderFor(lab))).toEqual(OK);
}

/** Overlays a.qcow2, b.qcow2, ... on the base; answers the files from the base up. */
export async function chainOf(lab: HypervisorLab, overlays: number): Promise<FileName[]> {
  const names = ['a.qcow2', 'b.qcow2', 'c.qcow2'].slice(0, overlays);
  for (const name of names) await snapshot(lab, name);
  return [lab.base, ...names] as FileName[];
}

/** A chain `c on b on a on base` in which each layer has something of its own to show. */
export async function written(lab: HypervisorLab): Promise<Files> {
  for (let at = 0; at < 6; at++) await lab.write(at, 0x10 + at);
  await snapshot(lab, 'a.qcow2');
  for (const at of [1, 2, 6]) await lab.write(at, 0xa0 + at);
  await snapshot(lab, 'b.qcow2');
  for (const at of [2, 3]) await lab.write(at, 0xb0 + at);
  await lab.writeZeroes(4);
  await snapshot(lab, 'c.qcow2');
  for (const at of [3, 7]) await lab.write(at, 0xc0 + at);
  const [a, b, c] = ['a.qcow2', 'b.qcow2', 'c.qcow2'] as FileName[] as [
    FileName,
    FileName,
    FileName,
  ];
  return { a, b, c, base: lab.base };
}

export function named(
  files: Files,
  ...[kind, one, other = null]: [Named[0], Named[1], Named[2]?]
): Merge {
  if (kind === 'pull') return { kind, onto: one && files[one] };
  if (one === null || other === null) throw new Error('a commit names two files');
  return { kind, top: files[one], into: files[other] };
}

/** What is told of the lab's own guest: a libvirtd tells of everybody's, also of others' beside. */
export function listen(lab: HypervisorLab): Happening[] {
  const heard: Happening[] = [];
  lab.hypervisor.listen((happening) => {
    if (!('server' in happening) || happening.server === lab.server) heard.push(happening);
  });
  return heard;
}

const whose = ({ server }: HypervisorLab) => ({ server, target: expect.any(String) });

export const codeOf = (answer: Result<null, Fault>) =>
  !answer.ok && answer.error.kind === 'rejected' ? answer.error.code : answer;
