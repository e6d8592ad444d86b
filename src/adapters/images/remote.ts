import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import { type FlawKind, PAGE_BYTES, parseHeader } from '#domain/qcow2.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { GlusterPlace } from '../gluster/place.ts';
import { codeOf } from '../system/access.ts';
import { type Failure, qemuImg, talkToQemuIo } from './qemu-img.ts';

/**
 * Files that only QEMU reaches. Its own driver reads and writes them, with every driver named, so
 * that nothing is probed; and nothing but the named file is opened.
 *
 * libgfapi's glfs_fini waits 10 s for a call that never ends (gluster issues 1962 and 2606, since
 * 7.8): to close a file takes that long, and to be told that there is none.
 */

/** Long enough to hear that a file is not there. */
const READ_TIMEOUT_MS = 20_000;
const MEND_TIMEOUT_MS = 60_000;

/** qemu-io with a prompt: it says what it read at once, and not only when the file is closed. */
export async function remoteHeader(
  place: GlusterPlace,
  file: FileName,
): Promise<Result<HeaderView, Fault>> {
  const options = [
    'driver=raw',
    ...Object.entries(dotted(place, file)).map((pair) => pair.join('=')),
  ];
  const child = talkToQemuIo(['-r', '--image-opts', options.join(',')]);
  // It reads only: whatever it still has to close, it may die over.
  const timer = setTimeout(() => child.kill('SIGKILL'), READ_TIMEOUT_MS);
  try {
    const talk = new Talk(child);
    const size = (await talk.ask(null)) === null ? null : await talk.ask('length');
    const bytes = size === null ? null : lengthIn(size);
    if (bytes === null) return notOpened(talk.why, file);
    const length = Math.min(PAGE_BYTES, bytes);
    const dump = length === 0 ? '' : await talk.ask(`read -v 0 ${length}`);
    const page = dump === null ? null : bytesIn(dump);
    if (page?.length !== length) return unreachable(file, `it reads ${page?.length ?? 'no'} bytes`);
    if (await isCut(talk, bytes)) return flawed('too-short', CUT);
    return ok(parseHeader(page, bytes));
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

/**
 * Whether the last sector is there in part only: then QEMU's driver reads nothing of it and opens
 * no such qcow2 file. qemu-img makes them so on a mounted volume (measured on 7.2). Of a longer
 * file the length is not known to the sector, but that one has been in use.
 */
async function isCut(talk: Talk, bytes: number): Promise<boolean> {
  if (bytes < 512 || bytes >= 1024 * 1024) return false;
  return /^read failed/.test((await talk.ask(`read ${bytes - 512} 512`)) ?? '');
}

const CUT = 'its length is no multiple of 512 bytes, and QEMU opens no such file over a network';

/** Nothing locks the file: whoever asks knows that no guest has it. */
export async function remoteMend(
  place: GlusterPlace,
  overlay: FileName,
  backing: FileName,
  format: Format,
): Promise<Failure | null> {
  const server = { type: 'inet', host: place.host, port: String(place.port) };
  const path = pathOf(place, overlay);
  const file = { driver: 'gluster', volume: place.volume, path, server: [server] };
  // Nothing below it is opened, whatever its header says.
  const image = `json:${JSON.stringify({ driver: 'qcow2', file, backing: null })}`;
  const args = ['rebase', '-u', '-F', format, '-b', backing, image];
  return qemuImg(args, [], { timeout: MEND_TIMEOUT_MS });
}

/** QEMU's options for the file; every value is a plain name, so nothing is to be escaped. */
function dotted(place: GlusterPlace, file: FileName): Readonly<Record<string, string>> {
  return {
    'file.driver': 'gluster',
    'file.volume': place.volume,
    'file.path': pathOf(place, file),
    'file.server.0.type': 'inet',
    'file.server.0.host': place.host,
    'file.server.0.port': String(place.port),
  };
}

/** Inside the volume. */
const pathOf = ({ folder }: GlusterPlace, file: FileName): string =>
  folder === '' ? file : `${folder}/${file}`;

const PROMPT = 'qemu-io> ';

type QemuIo = ReturnType<typeof talkToQemuIo>;

/** One command, one answer; null when there is none, and then `why`. */
class Talk {
  readonly #child: QemuIo;
  #heard = '';
  #said = '';
  #over: string | null = null;
  #wake: () => void = () => {};

  constructor(child: QemuIo) {
    this.#child = child;
    child.stdin.on('error', () => {}); // it has ended, and says why itself
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      this.#heard += text;
      this.#wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-4096);
    });
    child.on('error', (error) => this.#end(codeOf(error)));
    child.on('close', (_, signal) => this.#end(signal === null ? this.#last : 'it did not answer'));
  }

  get why(): string {
    return this.#over ?? this.#last;
  }

  async ask(command: string | null): Promise<string | null> {
    if (command !== null) this.#child.stdin.write(`${command}\n`);
    for (;;) {
      const end = this.#heard.indexOf(PROMPT);
      if (end >= 0) {
        const answer = this.#heard.slice(0, end);
        this.#heard = this.#heard.slice(end + PROMPT.length);
        return answer;
      }
      if (this.#over !== null) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** libgfapi logs there too. */
  get #last(): string {
    const own = this.#said.split('\n').filter((line) => line !== '' && !line.startsWith('['));
    return own.at(-1) ?? '';
  }

  #end(why: string): void {
    this.#over ??= why;
    this.#wake();
  }
}

/** `192.500 KiB`: to the sector below a MiB, and above it no less than the file has. */
export function lengthIn(answer: string): number | null {
  const [, number, unit] = /^([\d.]+) (bytes|KiB|MiB|GiB|TiB|PiB)\s*$/.exec(answer) ?? [];
  if (number === undefined || unit === undefined) return null;
  const scale = 1024 ** UNITS.indexOf(unit);
  const sectors = (Number(number) * scale) / 512;
  if (scale <= 1024) return Math.round(sectors) * 512;
  return Math.ceil(sectors + scale / 2000 / 512) * 512;
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** The bytes of a hex dump, as far as its addresses follow each other. */
export function bytesIn(answer: string): Uint8Array {
  const found: number[] = [];
  for (const [, at = '', bytes = ''] of answer.matchAll(
    /^([0-9a-f]{8}): {2}((?:[0-9a-f]{2} )+)/gm,
  )) {
    if (Number.parseInt(at, 16) !== found.length) break;
    for (const byte of bytes.trim().split(' ')) found.push(Number.parseInt(byte, 16));
  }
  return Uint8Array.from(found);
}

function notOpened(why: string, file: FileName): Result<HeaderView, Fault> {
  if (/: No such file or directory$/.test(why)) return flawed('missing', 'it is not there');
  if (/: Is a directory$/.test(why)) return flawed('not-regular', 'it is not a regular file');
  return unreachable(file, why);
}

const unreachable = (file: FileName, why: string): Result<HeaderView, Fault> =>
  err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${why}` });

const flawed = (kind: FlawKind, says: string): Result<HeaderView, Fault> => ok(err({ kind, says }));
