import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ONE_VERSION, VERSIONS } from './described.ts';
import { JSON_TYPE } from './fault.ts';
import { addResource, type Handler, PREFIXES, PROJECTS } from './resource.ts';
import { allVersions, oneVersion } from './versions.ts';

/** The version documents. Nobody needs a token to read them, nor a version to ask for them. */
export function addDocuments(app: FastifyInstance, publicEndpoint: string | null): void {
  for (const prefix of PREFIXES) {
    const read: Handler = async (request, reply) => {
      const base = publicEndpoint?.replace(/\/+$/, '') ?? seenBase(request);
      const document = prefix === '' ? allVersions(base) : oneVersion(base, prefix);
      return reply.header('content-type', JSON_TYPE).send(JSON.stringify(document));
    };
    const it = { handler: read, described: prefix === '' ? VERSIONS : ONE_VERSION };
    for (const project of PROJECTS) {
      addResource(app, `${prefix}${project}` || '/', { GET: it, HEAD: it });
    }
  }
}

/** Where the caller believes us to be; nothing but a host and a port is repeated. */
function seenBase(request: FastifyRequest): string {
  const { host = '' } = request.headers;
  return /^[\w.:[\]-]{1,255}$/.test(host) ? `${request.protocol}://${host}` : '';
}
