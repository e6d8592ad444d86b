import type { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import { type FileName, type Format, fileName, RAW } from '#domain/ids.ts';
import { planCreate } from '#domain/plan-create.ts';
import { telling } from '#sim/crash/telling.ts';
import { chain, file } from '../support/chains.ts';
import { qcow2 } from '../support/qcow2-bytes.ts';
import { CREATE, LIMITS } from '../support/scenes.ts';
import { disk, header, sight } from '../support/sights.ts';

/** Every command that was run, with what its descriptor 3 led to. */
const ran: { args: readonly string[]; options: Parameters<typeof spawn>[2]; opened: string }[] = [];

vi.mock('node:child_process', () => ({
  spawn: (command: string, args: readonly string[], options: { stdio: unknown[] }) => {
    const child = Object.assign(new EventEmitter(), { stderr: null });
    void readlink(`/proc/self/fd/${options.stdio[3]}`).then((opened) => {
      ran.push({ args: [command, ...args], options: options as never, opened });
      child.emit('close', 0, null);
    });
    return child;
  },
}));

/** Names as a tenant, an admin or a broken Cinder may give them. */
const anyName = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ maxLength: 20 }),
  fc.stringMatching(/^[\w.@+-]{1,20}$/),
  fc.constantFrom('..', '.', '../v', '/etc/passwd', 'a/../../b', 'nbd:h:1', '-o', 'a\0b', '$(id)'),
);

test('law 24: whatever is accepted as a name is a file of the folder and nothing else', () => {
  let accepted = 0;
  fc.assert(
    fc.property(anyName, (text) => {
      const name = fileName(text);
      if (name === null) return;
      accepted++;
      const path = resolve('/mnt/share', name);
      expect(dirname(path)).toBe('/mnt/share');
      expect(path).toBe(`/mnt/share/${text}`);
    }),
    { numRuns: 3_000 },
  );
  expect(accepted).toBeGreaterThan(100);
});

describe('of what qemu-img is given', () => {
  const images = new ShareImages();
  async function folder() {
    const path = await mkdtemp(join(tmpdir(), 'chainkeeper-laws-'));
    return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
  }

  test('law 24: it is the file that was looked at, whatever its name leads to by now', async () => {
    await using share = await folder();
    await writeFile(join(share.path, 'a'), qcow2().page);
    ran.length = 0;
    const mended = images.mend(share.path, 'a' as FileName, 'v' as FileName, RAW);
    expect(await mended).toMatchObject({ ok: true });
    expect(ran.map(({ opened }) => opened)).toEqual([join(share.path, 'a')]);
    expect(ran[0]?.args.at(-1), 'by descriptor, not by name').toBe('/dev/fd/3');
    await symlink(join(share.path, 'a'), join(share.path, 'link'));
    for (const name of ['link', 'nothing']) {
      const refused = images.mend(share.path, name as FileName, 'v' as FileName, RAW);
      expect(await refused).toMatchObject({ ok: false });
    }
    expect(ran, 'a link is not followed').toHaveLength(1);
  });

  test('law 26: no shell, every format named, and no word that could be an option', async () => {
    await using share = await folder();
    await writeFile(join(share.path, 'a'), qcow2().page);
    ran.length = 0;
    const name = anyName.map(fileName).filter((it) => it !== null);
    const format = fc.constantFrom('raw', 'qcow2', 'vpc') as fc.Arbitrary<Format>;
    await fc.assert(
      fc.asyncProperty(name, format, async (backing, of) => {
        await images.mend(share.path, 'a' as FileName, backing, of);
        const { args, options } = ran.at(-1) ?? { args: [], options: {} };
        const rest = ['-u', '-f', 'qcow2', '-F', of, '-b', backing, '/dev/fd/3'];
        expect(args).toEqual(['qemu-img', 'rebase', ...rest]);
        expect(backing).not.toMatch(/^-|:/);
        expect(options.shell ?? false).toBe(false);
        expect(Object.keys(options.env ?? {}).sort(), 'nothing of ours').toEqual([
          'LC_ALL',
          'PATH',
        ]);
      }),
      { numRuns: 100 },
    );
  });
});

test('law 26: what a header says is never taken for a format or a name', () => {
  let mended = 0;
  const hostile = fc.oneof(
    fc.string({ maxLength: 15 }),
    fc.constantFrom('vmdk', 'qcow2', 'raw', 'nbd'),
  );
  fc.assert(
    fc.property(hostile, fc.option(hostile), (format, backing) => {
      const says = header()(backing ?? 's1', format);
      const seen = sight(disk(chain('s1', 'v')), 'creating');
      const whole = { ...seen, headers: { ...seen.headers, [file('new')]: says } };
      const plan = planCreate(CREATE, whole, LIMITS);
      if (!plan.ok) return;
      const { mend } = plan.value;
      expect(backing ?? 's1').toBe('s1');
      if (mend === null) {
        expect(format).toBe('qcow2');
        return;
      }
      mended++;
      expect(mend).toMatchObject({ backing: 's1', format: 'qcow2' });
    }),
    { numRuns: 2_000 },
  );
  expect(mended).toBeGreaterThan(50);
});

test('law 26: nothing in src can start a shell, and one file starts a program', () => {
  const root = join(import.meta.dirname, '../../src');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((it) =>
    it.endsWith('.ts'),
  );
  const text = (name: string) => readFileSync(join(root, name), 'utf8');
  const starters = files.filter((name) =>
    /node:(child_process|vm)|\bnew Function\b|\beval\(/.test(text(name)),
  );
  expect(starters).toEqual(['adapters/images/qemu-img.ts']);
  expect(text('adapters/images/qemu-img.ts')).not.toMatch(/\bshell\b|\bexec(Sync|File)?\(/);
});

/** Somebody puts another file in the overlay's place between the look at it and the switch. */
async function swapped(with_: 'another header' | 'other data' | 'itself, with no format') {
  return telling({
    name: 'a create whose overlay is swapped',
    tell: async (it) => {
      const { share } = it.world.cloud;
      await it.write(1, 0x11);
      it.world.watchers.push({
        reaching: ({ port, method, args }) => {
          const [order] = args as [{ file: FileName }];
          const found = port === 'libvirt' && method === 'snapshot' ? share.file(order.file) : null;
          if (found === null) return;
          if (with_ === 'itself, with no format') {
            found.header = { ...found.header!, format: null };
            return;
          }
          const other = share.create(found.name, { clusters: found.clusters });
          other.header = { ...found.header!, ...(with_ === 'another header' && { backing: null }) };
          if (with_ === 'other data') other.content[1] = 0x66;
        },
      });
      await it.take('A', 1);
    },
  });
}

test('law 24: an overlay with another header in its place is never called created', async () => {
  const { told, ending } = await swapped('another header');
  expect(told.sometimes.has('a create ends unknown')).toBe(true);
  expect(told.sometimes.has('Cinder is told created')).toBe(false);
  expect(ending).not.toContain('A available');
});

test('law 24: an overlay with other data in its place is never called created', async () => {
  const { told, ending } = await swapped('other data');
  expect(told.sometimes.has('a create ends unknown')).toBe(true);
  expect(told.sometimes.has('Cinder is told created')).toBe(false);
  expect(ending).not.toContain('A available');
});

test('law 6: an overlay that lost its format is healed before it is called created', async () => {
  const { told, ending } = await swapped('itself, with no format');
  expect(told.sometimes.has('a create ends unknown')).toBe(false);
  expect(told.sometimes.has('Cinder is told created')).toBe(true);
  expect(ending).toContain('"volume-V.A on volume-V (raw)"');
  // While it was as somebody left it a start would have read something else.
  expect(told.broken.filter(({ law }) => law !== 2)).toEqual([]);
});
