import { describe, expect, test } from 'vitest';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import { unchained } from '#adapters/libvirt/unchain-xml.ts';
import { chain } from '../../support/chains.ts';
import { DUMPS, dump } from './dumps.ts';

const shutOff = Object.keys(DUMPS)
  .map((name) => ({ name, xml: dump(name) }))
  .filter(({ xml }) => !/<domain [^>]* id=/.test(xml));

describe.each(shutOff)('$name', ({ xml }) => {
  const domain = parseDomain(xml);
  if (!domain.ok) throw new Error(domain.error);
  const targets = domain.value.disks.map(({ target }) => target);

  test('one disk loses its chain, and nothing else changes', () => {
    for (const target of targets) {
      const cut = unchained(xml, target);
      if (!cut.ok) expect.unreachable(cut.error);
      const after = parseDomain(cut.value);
      if (!after.ok) expect.unreachable(after.error);
      for (const disk of domain.value.disks) {
        const now = after.value.disks.find((one) => one.target === disk.target);
        const mine = disk.target === target;
        const bare = { ...disk, layers: disk.layers.slice(0, 1), terminated: false };
        expect(now).toEqual(mine ? bare : disk);
      }
      expect(pieceCutFrom(xml, cut.value)).toMatch(CHAIN);
    }
  });

  test('twice is once', () => {
    for (const target of targets) {
      const once = unchained(xml, target);
      if (!once.ok) expect.unreachable(once.error);
      expect(unchained(once.value, target)).toEqual(once);
    }
  });

  test('a disk that is not there', () => {
    expect(unchained(xml, 'vdz')).toMatchObject({ ok: false });
  });
});

test('an encrypted disk has another chain instead, each layer with its key', () => {
  const xml = dump('19-shutoff-after-snapshot-inactive.xml');
  const domain = parseDomain(xml);
  if (!domain.ok) throw new Error(domain.error);
  const [mine, ...others] = domain.value.disks;
  const key = { secret: 'uuid-1', engine: 'qemu' };
  const before = chain('c', 'a & b', 'v');
  const instead = { directory: "/it's", chain: before, key };
  const once = unchained(xml, 'vda', instead);
  if (!once.ok) expect.unreachable(once.error);
  const after = parseDomain(once.value);
  if (!after.ok) expect.unreachable(after.error);
  const encryption = { format: 'luks', engine: 'qemu', secret: 'uuid-1' };
  const layer = (name: string, format: string) => {
    const source = { kind: 'file', path: `/it's/${name}` };
    return { source, format, index: null, encryption };
  };
  const layers = [mine?.layers[0], layer('a & b', 'qcow2'), layer('v', 'raw')];
  expect(after.value.disks).toEqual([{ ...mine, layers, terminated: true }, ...others]);
  expect(unchained(once.value, 'vda', instead)).toEqual(once);
  const bare = unchained(once.value, 'vda');
  expect(bare).toEqual(unchained(xml, 'vda'));
});

test('some dump has a chain to lose', () => {
  expect(shutOff.some(({ xml }) => xml.includes('</backingStore>'))).toBe(true);
});

/** A chain as libvirt prints it, or nothing at all. */
const CHAIN = /^(?:\s*<backingStore(?:\/>| .*<\/backingStore>))?$/s;

/** What was taken out of `whole`, of which nothing else may have changed. */
function pieceCutFrom(whole: string, rest: string): string {
  let at = 0;
  while (at < rest.length && rest[at] === whole[at]) at++;
  const length = whole.length - rest.length;
  // White space before the piece may be told as white space behind it.
  for (let from = at; from >= 0; from--) {
    const piece = whole.slice(from, from + length);
    if (whole.slice(0, from) + whole.slice(from + length) !== rest) continue;
    if (CHAIN.test(piece)) return piece;
  }
  return `more than a chain: ${whole.slice(at, at + length)}`;
}
