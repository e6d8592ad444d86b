import koffi from 'koffi';

/** A Linux socket of datagrams, which Node has none of. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of unix(7). */
const LONGEST = 108;

type Calls = ReturnType<typeof bind>;
let bound: Calls | null = null;

function bind() {
  const libc = koffi.load('libc.so.6');
  return {
    socket: libc.func('int socket(int domain, int type, int protocol)'),
    sendto: libc.func(
      'intptr sendto(int fd, void *data, size_t length, int flags, void *to, uint toLength)',
    ),
    close: libc.func('int close(int fd)'),
  };
}

/**
 * One datagram to a unix socket, by its path or, after an @, its abstract name. Null when it was
 * sent, else why not. It does not wait: a full queue is an error.
 */
export function sendDatagram(to: string, text: string): string | null {
  const name = Buffer.from(to.startsWith('@') ? `\0${to.slice(1)}` : to);
  if (name.length === 0 || name.length > LONGEST) return 'the name of the socket is too long';
  bound ??= bind();
  const family = Buffer.alloc(2);
  // In the order of the machine, which on every one that Node 24 runs on is this.
  family.writeUInt16LE(AF_UNIX);
  const address = Buffer.concat([family, name]);
  const data = Buffer.from(text);
  const fd = bound.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return `no socket (errno ${koffi.errno()})`;
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const sent = bound.sendto(fd, data, data.length, flags, address, address.length);
    return Number(sent) === data.length ? null : `not sent (errno ${koffi.errno()})`;
  } finally {
    bound.close(fd);
  }
}
