import { z } from 'zod';
import { type Described, json, named, type Said } from '../http/described.ts';
import { DELETE_INFO, LENIENT_BODY, STRICT_BODY } from './wire.ts';

/** What the routes that Cinder and its clients call take and answer, for the OpenAPI document. */

/** Nova's, by its word for the status: `{"badRequest": {"code": 400, "message": ...}}`. */
const FAULT = named(
  'Fault',
  z.record(z.string(), z.strictObject({ code: z.int(), message: z.string() })),
);
const UNAUTHORIZED = named(
  'Unauthorized',
  z.strictObject({
    error: z.strictObject({ code: z.literal(401), title: z.string(), message: z.string() }),
  }),
);

export const ANY_FAULT = json('Too long, too many, or a bug', FAULT, 'AnyFault');

const LINK = z.strictObject({
  rel: z.enum(['self', 'describedby']),
  type: z.string().optional(),
  href: z.string(),
});
export const VERSION = named(
  'Version',
  z.strictObject({
    id: z.string(),
    status: z.enum(['CURRENT', 'SUPPORTED']),
    version: z.string().describe('The highest microversion'),
    min_version: z.string(),
    updated: z.iso.datetime().meta({ pattern: undefined }),
    links: z.array(LINK),
    'media-types': z.array(z.strictObject({ base: z.string(), type: z.string() })).optional(),
  }),
);

/** Nova's rules: the last entry for compute of the first, else the second; see microversion.ts. */
const ASKED = z.object({
  'OpenStack-API-Version': z.string().optional().describe('compute 2.1 to 2.75, or latest'),
  'X-OpenStack-Nova-API-Version': z.string().optional().describe('2.1 to 2.75, or latest'),
  'X-OpenStack-Request-ID': z.string().optional().describe("The caller's id, for the log"),
});

const NO: Readonly<Record<number, Said>> = {
  307: json("The guest is on another host: ask that one's chainkeeper", FAULT, 'Elsewhere'),
  400: json('Not understood, or refused: nothing was changed', FAULT, 'BadRequest'),
  401: json('Nobody knows who asks', UNAUTHORIZED, 'Unauthorized'),
  403: json('The policy does not let them', FAULT, 'Forbidden'),
  406: json('There is no such microversion; not under /v2', FAULT, 'NoSuchVersion'),
  500: json('libvirt or Cinder said no, or it is a bug', FAULT, 'ServerFault'),
  503: json(
    'libvirt, Cinder or Keystone cannot be reached, or too many wait',
    FAULT,
    'Unavailable',
  ),
};
const PATH = {
  project: 'The project, as a URL of the catalog may have it',
  snapshot: "Of the snapshot that Cinder's request is about",
};
const CREATED = named(
  'AssistedSnapshotAnswer',
  z.strictObject({
    snapshot: z.strictObject({ id: z.string().nullable(), volumeId: z.string() }),
  }),
);

const create = {
  summary: 'Makes an overlay that Cinder has prepared the active layer of a volume in use',
  params: PATH,
  headers: ASKED,
  answers: {
    200: json('Accepted; Cinder hears how it ends', CREATED, 'Created'),
    ...NO,
    413: json('The body is too large', FAULT, 'TooLarge'),
    415: json('The body is no JSON by its type', FAULT, 'NoJson'),
  },
};

export const CREATE: Described = { ...create, body: STRICT_BODY };
/** Under /v2, keys that are not known are passed over. */
export const CREATE_V2: Described = { ...create, body: LENIENT_BODY };

export const DELETE: Described = {
  summary: "Merges the layer of a snapshot away, as Cinder's delete_info says",
  params: PATH,
  headers: ASKED,
  jsonQuery: { delete_info: DELETE_INFO },
  answers: { 204: { id: 'Merging', words: 'Accepted; Cinder hears how it ends' }, ...NO },
};

export const VERSIONS: Described = {
  summary: 'The versions of this API',
  params: PATH,
  open: true,
  answers: {
    200: json(
      'All of them',
      named('Versions', z.strictObject({ versions: z.array(VERSION) })),
      'AllVersions',
    ),
  },
};
export const ONE_VERSION: Described = {
  ...VERSIONS,
  summary: 'One version of this API',
  answers: {
    200: json('That one', named('OneVersion', z.strictObject({ version: VERSION })), 'ThatVersion'),
  },
};

const HEALTH = named(
  'Health',
  z.strictObject({ detailed: z.literal(false), reasons: z.array(z.string()) }),
);
const said = (words: string): Said => ({
  words,
  body: { 'text/plain': z.string(), 'application/json': HEALTH },
});
export const CHECK: Described = {
  summary: 'Whether it can work; as JSON for those who ask for it (Accept)',
  open: true,
  answers: { 200: said('All is well'), 503: said('Why not') },
};
export const CHECK_HEAD: Described = {
  ...CHECK,
  answers: { 204: { words: 'All is well' }, 503: { words: 'All is not well' } },
};
