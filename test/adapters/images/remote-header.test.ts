import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import { type FileName, RAW } from '#domain/ids.ts';
import { type HeaderFacts, qcow2 } from '../../support/qcow2-bytes.ts';

/** A qemu-io that has opened a file with these bytes, or says why it cannot. */
interface Opened {
  readonly bytes?: Uint8Array;
  /** As its driver has it: of a file whose last sector is not whole it reads nothing of that. */
  readonly cut?: boolean;
  readonly fails?: string;
  /** No read is answered. */
  readonly mute?: boolean;
}

let opened: Opened = {};
const ran: (readonly string[])[] = [];
const killed: string[] = [];

vi.mock('node:child_process', () => ({
  spawn: (command: string, args: readonly string[]) => {
    ran.push([command, ...args]);
    if (command === 'qemu-img') return ended();
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const say = (text: string) => stdout.write(`${text}qemu-io> `);
    const stdin = new Writable({
      write(chunk, _, done) {
        done();
        for (const line of String(chunk).trim().split('\n')) say(answer(line));
      },
    });
    const kill = (signal: string) => killed.push(signal);
    const child = Object.assign(new EventEmitter(), { stdin, stdout, stderr, kill });
    const { fails } = opened;
    queueMicrotask(() => {
      if (fails === undefined) {
        say('');
        return;
      }
      // libgfapi logs there too.
      const log = '[2026-11-26 05:24:45] I [io-stats.c:4033:fini] 0-ck: unloaded';
      stderr.write(`${log}\n${fails}\n${log}\n`);
      setTimeout(() => child.emit('close', 1, null), 10);
    });
    return child;
  },
}));

/** A command that does all that it is told. */
function ended() {
  const child = Object.assign(new EventEmitter(), { stderr: null });
  queueMicrotask(() => child.emit('close', 0, null));
  return child;
}

function answer(command: string): string {
  const { bytes = new Uint8Array(), cut = false, mute = false } = opened;
  if (command === 'length') {
    const kib = bytes.length / 1024;
    return kib < 1 ? `${bytes.length} bytes\n` : `${kib.toFixed(3).replace('.000', '')} KiB\n`;
  }
  const [, verbose, at = '0', length = '0'] = /^read (-v )?(\d+) (\d+)$/.exec(command) ?? [];
  const from = Number(at);
  if (mute || (cut && from > 0)) return 'read failed: Input/output error\n';
  const rows: string[] = [];
  for (let row = from; verbose && row < from + Number(length); row += 16) {
    const hex = [...bytes.subarray(row, row + 16)].map((it) => it.toString(16).padStart(2, '0'));
    rows.push(`${row.toString(16).padStart(8, '0')}:  ${hex.join(' ')}  ................\n`);
  }
  return `${rows.join('')}read ${length}/${length} bytes at offset ${at}\n`;
}

const DIRECTORY = 'gluster://gl1:24007/vol1';
const header = () => new ShareImages().header(DIRECTORY, 'a' as FileName);

/** All of a file, in whole sectors. */
function whole(facts: HeaderFacts = {}): Uint8Array {
  const { page, fileBytes } = qcow2(facts);
  const bytes = new Uint8Array(Math.ceil(fileBytes / 512) * 512);
  bytes.set(page);
  return bytes;
}

test('the page is read through QEMU, every driver named, and it is let go at once', async () => {
  opened = { bytes: whole() };
  [ran.length, killed.length] = [0, 0];
  const found = await header();
  expect(found).toMatchObject({ ok: true, value: { ok: true, value: { version: 3 } } });
  const file = 'file.driver=gluster,file.volume=vol1,file.path=a';
  const server = 'file.server.0.type=inet,file.server.0.host=gl1,file.server.0.port=24007';
  expect(ran).toEqual([['qemu-io', '-r', '--image-opts', `driver=raw,${file},${server}`]]);
  expect(killed).toEqual(['SIGKILL']);
});

test('it is the page that a local file would have', async () => {
  const bytes = whole({ backing: 'v', format: 'raw' });
  opened = { bytes };
  const says = { backingFile: 'v', backingFormat: 'raw', fileBytes: bytes.length };
  expect(await header()).toMatchObject({ value: { value: says } });
});

test.each<[string, Opened, object]>([
  ['an empty file', { bytes: new Uint8Array() }, { error: { kind: 'too-short' } }],
  ['no qcow2', { bytes: new Uint8Array(1024) }, { error: { kind: 'not-qcow2' } }],
  ['a part of a sector', { bytes: whole(), cut: true }, { error: { kind: 'too-short' } }],
  [
    'no file',
    { fails: "qemu-io: can't open: a: No such file or directory" },
    { error: { kind: 'missing' } },
  ],
  [
    'a folder',
    { fails: "qemu-io: can't open: a: Is a directory" },
    { error: { kind: 'not-regular' } },
  ],
])('%s is said to be that', async (_, it, value) => {
  opened = it;
  expect(await header()).toMatchObject({ ok: true, value: { ok: false, ...value } });
});

test('anything else is no answer', async () => {
  opened = { fails: 'qemu-io: Unknown driver gluster' };
  expect(await header()).toEqual({
    ok: false,
    error: { kind: 'unreachable', who: 'the share', detail: 'a: qemu-io: Unknown driver gluster' },
  });
  opened = { bytes: whole(), mute: true };
  const unread = { kind: 'unreachable', detail: 'a: it reads 0 bytes' };
  expect(await header()).toMatchObject({ ok: false, error: unread });
});

test('it is mended through QEMU, every driver named, and nothing below it is opened', async () => {
  ran.length = 0;
  const images = new ShareImages();
  const mended = images.mend(`${DIRECTORY}/folder`, 'a' as FileName, 'v' as FileName, RAW);
  expect(await mended).toEqual({ ok: true, value: null });
  const server = [{ type: 'inet', host: 'gl1', port: '24007' }];
  const file = { driver: 'gluster', volume: 'vol1', path: 'folder/a', server };
  const image = `json:${JSON.stringify({ driver: 'qcow2', file, backing: null })}`;
  expect(ran).toEqual([['qemu-img', 'rebase', '-u', '-F', 'raw', '-b', 'v', image]]);
});
