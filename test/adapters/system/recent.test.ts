import { expect, test } from 'vitest';
import { Finder } from '#adapters/libvirt/finder.ts';
import type { GuestCalls } from '#adapters/libvirt/guest-calls.ts';
import { Recent } from '#adapters/system/recent.ts';
import type { ServerId, VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { dump } from '../libvirt/dumps.ts';

test('what was used longest ago is forgotten first', () => {
  const recent = new Recent<number>(2);
  recent.set('a', 1);
  recent.set('b', 2);
  expect(recent.get('a')).toBe(1);
  recent.set('c', 3);
  expect([recent.get('a'), recent.get('b'), recent.get('c')]).toEqual([1, undefined, 3]);
});

test('entries count as much as they weigh, and one that is replaced no longer counts', () => {
  const recent = new Recent<string>(10, (text) => text.length);
  recent.set('a', 'four');
  recent.set('a', '8 letter');
  recent.set('b', 'ab');
  expect([recent.get('a'), recent.get('b')]).toEqual(['8 letter', 'ab']);
  recent.set('c', 'too much for all of them');
  expect([recent.get('a'), recent.get('b'), recent.get('c')]).toEqual(Array(3).fill(undefined));
});

test('the same XML is read once, another one anew', async () => {
  const one = dump('03-raw-plus-one-overlay.xml');
  const serial = /<serial>([^<]+)/.exec(one)?.[1] as VolumeId;
  const server = /<uuid>([^<]+)/.exec(one)?.[1] as ServerId;
  const texts = [one, `${one}`, one.replaceAll('volume-6c6ad3a0', 'volume-7c6ad3a0')];
  const calls = { xml: async () => ok(texts.shift() ?? '') } as unknown as GuestCalls;
  const finder = new Finder('qemu:///system');
  const seen = [];
  for (const _ of [1, 2, 3]) {
    const found = await finder.disk(calls, { server, volume: serial });
    if (!found.ok || 'kind' in found.value) throw new Error('not found');
    seen.push(found.value.domain);
  }
  expect(seen[1]).toBe(seen[0]);
  expect(seen[2]).not.toEqual(seen[0]);
});
