import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { STATUS_CODES } from '../http/node-http.ts';
import { errorJson } from './report-json.ts';

/** The most that a request's body may be; far more than every name in it together. */
export const BODY_BYTES = 65_536;

/**
 * What never reaches a handler, in the words and the form of every other answer: fastify's own
 * would be another JSON, from which nobody takes a reason.
 */
export const BEFORE_ROUTES = {
  frameworkErrors: (error: Raised, _: FastifyRequest, reply: FastifyReply) =>
    void reply.code(error.statusCode ?? 400).send(errorJson('bad-request', sentenceOf(error))),
  clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
    const body = JSON.stringify(errorJson('bad-request', sentenceOf({ statusCode: status })));
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\n`;
    socket.end(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  },
};

/** Of an error that fastify or Node's parser made of a request. */
export function sentenceOf({ statusCode, message }: Raised): string {
  switch (statusCode) {
    case 413:
      return `The request is longer than ${BODY_BYTES / 1024} KiB: check what was given to it.`;
    case 414:
    case 431:
      return 'What is asked for has far too long a name: check it.';
    default:
      return message ?? 'This is no HTTP/1.1 request.';
  }
}

interface Raised {
  readonly statusCode?: number;
  readonly message?: string;
}
