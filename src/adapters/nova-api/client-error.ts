import type { Duplex } from 'node:stream';
import { STATUS_CODES } from '../http/node-http.ts';
import { faultBody, JSON_TYPE, type NovaFault } from './fault.ts';
import { requestIds } from './request-id.ts';

/**
 * Answers what never became a request: Node's parser refused it or waited too long. Written by
 * hand, because there is no response object yet.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex, id: string): void {
  // Where no TLS came about, an answer would wait for it for ever, and the socket with it.
  if (!/^(HPE_|ERR_HTTP_)/.test(error.code ?? '') || !socket.writable) {
    socket.destroy();
    return;
  }
  const fault = faultOfParser(error.code);
  const body = faultBody(fault);
  const headers = {
    'Content-Type': JSON_TYPE,
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
    ...requestIds(id),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const status = `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status]}\r\n`;
  socket.end(`${status}${lines.join('')}\r\n${body}`, () => socket.destroy());
}

function faultOfParser(code: string | undefined): NovaFault {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: 'The request line and the headers are too large.' };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, message: 'The request did not arrive in time.' };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { status: 413, message: 'The chunk extensions are too large.' };
    default:
      return { status: 400, message: 'This is not HTTP/1.1 as RFC 9112 has it.' };
  }
}
