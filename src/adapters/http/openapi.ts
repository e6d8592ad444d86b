import { stringify } from 'yaml';
import { z } from 'zod';
import { type Described, NAMED, NO_API, type Route, type Said } from './described.ts';

/** Some routes that are served together, and how one gets there. */
export interface Served {
  readonly tag: string;
  readonly about: string;
  readonly server: { readonly url: string; readonly description: string };
  readonly routes: readonly Route[];
  /** What every status that a route does not name comes with. */
  readonly otherwise: Said;
  /** The ways to say who one is, by their names in `SECURITY`; any of them will do. */
  readonly security: readonly (readonly (keyof typeof SECURITY)[])[];
}

type Json = Readonly<Record<string, unknown>>;

/** An OpenAPI 3.1 document of what these routes say of themselves; always in one order. */
export function openapi(info: Json, apis: readonly Served[]): Json {
  const paths = new Map<string, Json>();
  for (const api of apis) {
    for (const { method, url, described } of listed(api.routes)) {
      const path = url.replace(PARAM, '{$1}');
      const name = `${method.toLowerCase()} ${path}`;
      const before = paths.get(path) ?? { servers: [api.server] };
      const id = name.replace(/[^A-Za-z0-9]+/g, '_').replace(/_$/, '');
      const said = { operationId: id, tags: [api.tag], ...operation(described, url, api) };
      paths.set(path, { ...before, [method.toLowerCase()]: said });
    }
  }
  const { schemas } = z.toJSONSchema(NAMED, { io: 'input', uri: reference });
  const shared = apis
    .flatMap(({ routes, otherwise }) => [
      otherwise,
      ...listed(routes).flatMap(({ described }) => Object.values(described.answers)),
    ])
    .flatMap((said) => (said.id === undefined ? [] : [[said.id, response(said)] as const]));
  return {
    openapi: '3.1.0',
    info,
    tags: apis.map(({ tag, about }) => ({ name: tag, description: about })),
    paths: Object.fromEntries([...paths].sort(byName)),
    components: {
      securitySchemes: SECURITY,
      responses: Object.fromEntries([...new Map(shared)].sort(byName)),
      schemas: Object.fromEntries(
        Object.entries(schemas)
          .map(([id, schema]) => [id, plain(schema)] as const)
          .sort(byName),
      ),
    },
  };
}

/** As a file that people read, and diff. */
export const asYaml = (document: object): string =>
  stringify(document, { aliasDuplicateObjects: false, lineWidth: 100 });

const SECURITY = {
  keystone: { type: 'apiKey', in: 'header', name: 'X-Auth-Token', description: "Keystone's token" },
  service: {
    type: 'apiKey',
    in: 'header',
    name: 'X-Service-Token',
    description: 'With it, the token of X-Auth-Token may have expired',
  },
  basic: { type: 'http', scheme: 'basic' },
} as const;

/** `:name` or `:name(regular expression)`. */
const PARAM = /:(\w+)(?:\(([^)]*)\))?/g;

type Listed = Route & { readonly described: Described };

/** All but pages, and the HEAD that a GET brings along. */
function listed(routes: readonly Route[]): readonly Listed[] {
  const gets = new Map(routes.map((it) => [`${it.method} ${it.url}`, it.described]));
  return routes.filter(
    (it): it is Listed =>
      it.described !== null &&
      it.described !== NO_API &&
      !(it.method === 'HEAD' && gets.get(`GET ${it.url}`) === it.described),
  );
}

function operation(it: Described, url: string, { security, otherwise }: Served): Json {
  const inPath = [...url.matchAll(PARAM)].map(([, name = '', pattern]) => ({
    name,
    in: 'path',
    required: true,
    description: it.params?.[name] ?? '',
    schema: { type: 'string', ...(pattern !== undefined && { pattern }) },
  }));
  const asJson = Object.entries(it.jsonQuery ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: true,
    content: { 'application/json': { schema: shape(schema) } },
  }));
  const parameters = [
    ...inPath,
    ...parametersOf('query', it.query),
    ...asJson,
    ...parametersOf('header', it.headers),
  ];
  return {
    summary: it.summary,
    ...(parameters.length > 0 && { parameters }),
    ...(it.body && {
      requestBody: { required: true, content: { 'application/json': { schema: shape(it.body) } } },
    }),
    responses: Object.fromEntries(
      Object.entries({ ...it.answers, default: otherwise }).map(([status, said]) => [
        status,
        said.id === undefined ? response(said) : { $ref: `#/components/responses/${said.id}` },
      ]),
    ),
    ...(!it.open && {
      security: security.map((ways) => Object.fromEntries(ways.map((way) => [way, []]))),
    }),
  };
}

function response({ words, body = {} }: Said): Json {
  const content = Object.entries(body).map(([type, schema]) => [type, { schema: shape(schema) }]);
  const has = content.length > 0;
  return { description: words, ...(has && { content: Object.fromEntries(content) }) };
}

function parametersOf(where: 'query' | 'header', schema: z.ZodObject | undefined): readonly Json[] {
  if (schema === undefined) return [];
  return Object.entries(schema.shape).map(([name, one]) => {
    const { description, ...its } = plain(z.toJSONSchema(one as z.ZodType, { io: 'input' }));
    const required = !(one as z.ZodType).safeParse(undefined).success;
    return { name, in: where, required, ...(description ? { description } : {}), schema: its };
  });
}

/** A schema, or where it stands in the document when it has a name. */
function shape(schema: z.ZodType): Json {
  const id = NAMED.get(schema)?.id;
  if (id !== undefined) return { $ref: reference(id) };
  return plain(z.toJSONSchema(schema, { io: 'input' }));
}

const reference = (id: string): string => `#/components/schemas/${id}`;

/** Without what says that it stands alone. */
function plain({ $schema, $id, '~standard': _, ...schema }: Json): Json {
  return schema;
}

const byName = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one < other ? -1 : 1;
