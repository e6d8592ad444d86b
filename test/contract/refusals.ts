import { describe, expect, test } from 'vitest';
import { filesOf, type Merge } from '#domain/chain.ts';
import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import {
  chainOf,
  codeOf,
  type HypervisorLab,
  mergeOrder,
  named,
  type Open,
  orderFor,
  seen,
  snapshot,
  snapshotOrder,
  type Unfit,
  written,
} from './hypervisor.ts';

/** What libvirt refuses, and what one would think it refuses and it does not: on a raw base. */
export function refusalContract(name: string, open: Open): void {
  describe(`${name} refuses`, () => {
    overlayLaws(open);
    mergeLaws(open);
  });
  describe(`${name} does not mind`, () => {
    sizeLaws(open);
    healingLaws(open);
    configurationLaws(open);
  });
}

function overlayLaws(open: Open): void {
  test.each<[Unfit, number]>([
    ['folder', 67],
    ['raw', 1],
    ['forbidden', 1],
    ['encrypted', 1],
  ])('a new overlay that is %s, with code %i', async (how, code) => {
    await using lab = await open();
    await chainOf(lab, 1);
    const before = await seen(lab);
    const order = { ...(await orderFor(lab)), file: await lab.unfit('c.qcow2', how) };
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(code);
    expect(await seen(lab)).toEqual(before);
  });

  test('an overlay that is named by a relative path, with code 27', async () => {
    await using lab = await open();
    const order = { ...(await snapshotOrder(lab, 'a.qcow2')), directory: 'images' };
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(27);
  });
}

/** Of a chain `c on b on a on base`. */
const MERGES: readonly (readonly [string, number, Merge])[] = [
  ['a commit of a stranger', 8, commit('x', 'a.qcow2')],
  ['a commit into a stranger', 8, commit('b.qcow2', 'x')],
  ['a commit into itself', 8, commit('b.qcow2', 'b.qcow2')],
  ['a commit upwards', 8, commit('a.qcow2', 'b.qcow2')],
  ['a pull onto a stranger', 8, { kind: 'pull', onto: 'x' as FileName }],
  ['a pull onto the active layer', 8, { kind: 'pull', onto: 'c.qcow2' as FileName }],
];

function mergeLaws(open: Open): void {
  test('merges of files that are not where they should be, with code 8', async () => {
    await using lab = await open();
    await written(lab);
    const before = await seen(lab);
    for (const [what, code, merge] of MERGES) {
      expect(codeOf(await lab.hypervisor.merge(await mergeOrder(lab, merge))), what).toBe(code);
    }
    expect(await seen(lab)).toEqual(before);
  });

  test('a merge over a name that is not relative, with code 55', async () => {
    await using lab = await open();
    await chainOf(lab, 2);
    const backing = `${lab.directory}/b.qcow2`;
    await snapshot(lab, 'c.qcow2', { backing, format: QCOW2 });
    const order = await mergeOrder(lab, { kind: 'pull', onto: 'a.qcow2' as FileName });
    expect(codeOf(await lab.hypervisor.merge(order))).toBe(55);
  });

  test('a merge and a flush of a guest that is shut off, with code 55', async () => {
    await using lab = await open();
    await written(lab);
    await lab.stop();
    const order = (merge: Merge) => mergeOrder(lab, merge);
    const pull = { kind: 'pull', onto: lab.base } as const;
    expect(codeOf(await lab.hypervisor.merge(await order(pull)))).toBe(55);
    expect(codeOf(await lab.hypervisor.flush(await orderFor(lab)))).toBe(55);
    const stranger = await order(commit('x', 'a.qcow2'));
    expect(codeOf(await lab.hypervisor.merge(stranger))).toBe(8);
  });
}

function sizeLaws(open: Open): void {
  test.each([4, 512])(
    'an overlay of another size: the disk has %i clusters then',
    async (clusters) => {
      await using lab = await open();
      await snapshot(lab, 'a.qcow2', { backing: lab.base, format: RAW, clusters });
      expect((await seen(lab)).size).toBe(clusters * 65_536);
    },
  );

  /** What lies below its end comes back, and the guest reads what it had not read before. */
  test.each<[string, (base: FileName) => Merge]>([
    ['a commit of it', (base) => commit('a.qcow2', base)],
    ['a pull of it', (base) => ({ kind: 'pull', onto: base })],
  ])('a layer that is too short: %s then changes the disk', async (_, merge) => {
    await using lab = await open();
    await tooShort(lab);
    const before = await lab.hash();
    await merged(lab, merge(lab.base));
    expect(filesOf((await seen(lab)).chain)).toEqual(['b.qcow2', lab.base]);
    expect(await lab.hash()).not.toBe(before);
  });

  test('a layer that is too short two below: a pull keeps what the guest reads', async () => {
    await using lab = await open();
    await tooShort(lab);
    await snapshot(lab, 'c.qcow2');
    const before = await lab.hash();
    await merged(lab, { kind: 'pull', onto: lab.base });
    expect(filesOf((await seen(lab)).chain)).toEqual(['c.qcow2', lab.base]);
    expect(await lab.hash()).toBe(before);
  });
}

/** `b on a on base`, where `a` ends in the middle of the disk. */
async function tooShort(lab: HypervisorLab): Promise<void> {
  const { size } = await seen(lab);
  if (size === null) throw new Error('there is a job');
  for (let at = 0; at < 8; at++) await lab.write(at, 0x11);
  await snapshot(lab, 'a.qcow2', { backing: lab.base, format: RAW, clusters: 4 });
  const says = { backing: 'a.qcow2', format: QCOW2, clusters: size / 65_536 };
  await snapshot(lab, 'b.qcow2', says);
}

function healingLaws(open: Open): void {
  test('a header that lies of a format, and a pull that moves nothing mends it', async () => {
    await using lab = await open();
    await snapshot(lab, 'a.qcow2', { backing: lab.base, format: QCOW2 });
    expect(await lab.headerOf('a.qcow2' as FileName)).toMatchObject({ format: QCOW2 });
    await merged(lab, { kind: 'pull', onto: lab.base });
    expect(await lab.headerOf('a.qcow2' as FileName)).toEqual({ backing: lab.base, format: RAW });
  });

  test('a snapshot of one disk while the other one has a job', async () => {
    await using lab = await open();
    const files = await written(lab);
    await lab.startEndless(named(files, 'pull', 'a'));
    const { chain } = await seen(lab, lab.other);
    const file = await lab.overlay('o.qcow2', { backing: chain.file, format: RAW });
    const order = { ...(await orderFor(lab, lab.other)), file };
    expect(await lab.hypervisor.snapshot(order)).toEqual({ ok: true, value: null });
    expect(filesOf((await seen(lab, lab.other)).chain)).toEqual(['o.qcow2', chain.file]);
    expect((await seen(lab)).job).toMatchObject({ kind: 'pull' });
    await lab.cancel();
  });
}

function configurationLaws(open: Open): void {
  test('a snapshot of a guest that is shut off: it starts from it', async () => {
    await using lab = await open();
    await lab.stop();
    await snapshot(lab, 'a.qcow2');
    const off = await seen(lab);
    expect(off).toMatchObject({ process: null, chain: { file: 'a.qcow2' } });
    await lab.startAsConfigured();
    expect(filesOf((await seen(lab)).chain)).toEqual(['a.qcow2', lab.base]);
  });

  test('headers that lie, where the configuration names the chain', async () => {
    await using lab = await open();
    await snapshot(lab, 'a.qcow2');
    await lab.write(2, 0x22);
    await snapshot(lab, 'b.qcow2', { backing: lab.base, format: QCOW2 });
    const bytes = await lab.hash();
    await lab.stop();
    await lab.startAsConfigured();
    const { chain } = await seen(lab);
    expect(filesOf(chain)).toEqual(['b.qcow2', 'a.qcow2', lab.base]);
    expect(chain.on?.on?.format).toBe(RAW);
    expect(await lab.hash()).toBe(bytes);
  });
}

async function merged(lab: HypervisorLab, merge: Merge): Promise<void> {
  expect(await lab.hypervisor.merge(await mergeOrder(lab, merge))).toEqual({
    ok: true,
    value: null,
  });
  await lab.idle();
}

function commit(top: string, into: string): Merge {
  return { kind: 'commit', top: top as FileName, into: into as FileName };
}
