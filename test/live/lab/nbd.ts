/** As much of the NBD protocol as it takes to read an export (QEMU's docs/interop/nbd). */
import { connect } from 'node:net';
import type { Readable } from 'node:stream';

const OPTION_MAGIC = 0x49484156454f5054n; // IHAVEOPT
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const FIXED_NEWSTYLE_NO_ZEROES = 3;
const EXPORT_NAME = 1;
const READ = 0;
const DISCONNECT = 2;

/** All bytes of an export that is served on a unix socket. */
export async function readExport(socket: string, name: string): Promise<Buffer> {
  const stream = connect(socket);
  try {
    const take = taker(stream);
    const greeting = await take(18);
    if (greeting.readBigUInt64BE(8) !== OPTION_MAGIC) throw new Error('no NBD server');
    stream.write(Buffer.concat([u32(FIXED_NEWSTYLE_NO_ZEROES), optionFor(name)]));
    const size = Number((await take(10)).readBigUInt64BE(0));
    stream.write(request(READ, size));
    const reply = await take(16);
    if (reply.readUInt32BE(0) !== REPLY_MAGIC) throw new Error('not an NBD reply');
    const error = reply.readUInt32BE(4);
    if (error !== 0) throw new Error(`NBD read: error ${error}`);
    const bytes = await take(size);
    stream.write(request(DISCONNECT, 0));
    return bytes;
  } finally {
    stream.destroy();
  }
}

/** Exactly so many of the bytes that come next. */
function taker(stream: Readable): (length: number) => Promise<Buffer> {
  const pieces: Buffer[] = [];
  const chunks = stream[Symbol.asyncIterator]();
  let has = 0;
  return async (length) => {
    while (has < length) {
      const next = await chunks.next();
      if (next.done) throw new Error('the NBD server hung up');
      pieces.push(next.value);
      has += next.value.length;
    }
    const all = Buffer.concat(pieces);
    pieces.splice(0, pieces.length, all.subarray(length));
    has -= length;
    return all.subarray(0, length);
  };
}

function optionFor(name: string): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(OPTION_MAGIC, 0);
  head.writeUInt32BE(EXPORT_NAME, 8);
  head.writeUInt32BE(name.length, 12);
  return Buffer.concat([head, Buffer.from(name)]);
}

function request(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(type, 6);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
