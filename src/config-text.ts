import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { codeOf, whyNot } from '#adapters/system/access.ts';
import { err, ok, type Result } from '#domain/result.ts';

/** Far more than every option takes; a device has no end. */
const MOST_BYTES = 2 ** 20;
const PAUSE_MS = 10;

/** How long somebody may take to open a pipe, and then to write all into it. */
export interface Patience {
  readonly openingMs: number;
  readonly writingMs: number;
}
const PATIENCE: Patience = { openingMs: 2000, writingMs: 60_000 };

/** Why there is no text; `code` is the errno, where there is one. */
export interface Unread {
  readonly code: string | null;
  readonly sentence: string;
}

/**
 * The text of a configuration file, strictly UTF-8 as Python reads it, the mark at its beginning
 * included. Python waits for a pipe without end, and `<(command)` of a shell is one.
 * It is given some time here.
 */
export function readText(file: string, patience = PATIENCE): Result<string, Unread> {
  try {
    // A pipe without a writer would hold open(2) up.
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = fstatSync(fd).isFIFO() ? fromPipe(fd, patience) : fromFile(fd);
      return typeof bytes === 'string' ? no(bytes) : decoded(bytes);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = codeOf(error);
    return err({ code, sentence: `cannot be read: ${whyNot(code)}` });
  }
}

function fromFile(fd: number): Buffer | string {
  const read = Buffer.alloc(MOST_BYTES + 1);
  let length = 0;
  for (;;) {
    const more = readSync(fd, read, length, read.length - length, null);
    length += more;
    if (length > MOST_BYTES) return LONG;
    if (more === 0) return read.subarray(0, length);
  }
}

function fromPipe(fd: number, patience: Patience): Buffer | string {
  const read = Buffer.alloc(MOST_BYTES + 1);
  let length = 0;
  for (let waited = 0; waited < patience.writingMs; waited += PAUSE_MS) {
    const more = available(fd, read, length);
    if (more === 0 && length > 0) return read.subarray(0, length);
    // Nobody has opened it yet, or somebody had nothing to say.
    if (more === 0 && waited >= patience.openingMs) return 'is a pipe, and nobody writes into it';
    length += more ?? 0;
    if (length > MOST_BYTES) return LONG;
    // Synchronously: nothing else goes on before the configuration is known.
    if (!more) Atomics.wait(STILL, 0, 0, PAUSE_MS);
  }
  const seconds = patience.writingMs / 1000;
  return `is a pipe, and whoever writes into it has not ended within ${seconds} s`;
}

/** Null is nothing yet. */
function available(fd: number, into: Buffer, at: number): number | null {
  try {
    return readSync(fd, into, at, into.length - at, null);
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return null;
    throw error;
  }
}

function decoded(bytes: Buffer): Result<string, Unread> {
  if (isUtf8(bytes)) return ok(bytes.toString('utf8'));
  const lines = bytes.toString('latin1').split('\n');
  const at = lines.findIndex((line) => !isUtf8(Buffer.from(line, 'latin1')));
  return no(`line ${at + 1} is no UTF-8: save it as UTF-8, without a byte order mark`);
}

const no = (sentence: string) => err({ code: null, sentence });
const LONG = 'is longer than 1 MiB: name a configuration';
const STILL = new Int32Array(new SharedArrayBuffer(4));
