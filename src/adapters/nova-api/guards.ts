import type { IncomingMessage } from 'node:http';
import { badRequest, type NovaFault } from './fault.ts';
import { LIMITS } from './limits.ts';

/** What is too large or too many to read on, or null. Node's own limits are a little wider. */
export function faultOfSize(request: IncomingMessage): NovaFault | null {
  const { rawHeaders: raw, url = '', httpVersion, headers } = request;
  if (url.length > LIMITS.urlBytes) return URL_TOO_LONG;
  if (raw.length / 2 > LIMITS.headerFields) {
    return { status: 431, message: `More than ${LIMITS.headerFields} header fields.` };
  }
  if (raw.reduce((sum, text) => sum + text.length, 0) > LIMITS.headerBytes) {
    return { status: 431, message: `The headers exceed ${LIMITS.headerBytes} bytes.` };
  }
  // Left to us, so that this answer has the form of all the others (RFC 9112, section 3.2).
  if (httpVersion === '1.1' && headers.host === undefined) {
    return badRequest('The Host header is missing.');
  }
  return null;
}

/** Fastify's own errors in our words; whatever else was thrown is our mistake, and says nothing. */
export function faultOfError(error: unknown): NovaFault {
  const { code, statusCode } = { ...(error as { code?: unknown; statusCode?: unknown }) };
  if (code === 'FST_ERR_MAX_PARAM_LENGTH') return URL_TOO_LONG;
  if (code === 'FST_ERR_BAD_URL') return badRequest('Malformed request URL.');
  switch (statusCode) {
    case 400:
      return badRequest('Malformed request.');
    case 413:
      return { status: 413, message: `The request body exceeds ${LIMITS.bodyBytes} bytes.` };
    case 415:
      return UNSUPPORTED_TYPE;
    default:
      return { status: 500, message: 'Unexpected API Error: see the log for this request id.' };
  }
}

/** Nova takes JSON under these two names, and only under them. */
export function isJson(contentType: string | undefined): boolean {
  const media = contentType?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  return media === 'application/json' || media === 'application/vnd.openstack.compute+json';
}

export const UNSUPPORTED_TYPE: NovaFault = {
  status: 415,
  message: 'Unsupported Content-Type: send application/json.',
};
export const NOT_FOUND: NovaFault = {
  status: 404,
  message: 'The resource could not be found.',
};
export const WRONG_METHOD: NovaFault = {
  status: 405,
  message: 'The method specified is not allowed for this resource.',
};

const URL_TOO_LONG: NovaFault = {
  status: 414,
  message: `The URL exceeds ${LIMITS.urlBytes} bytes.`,
};
