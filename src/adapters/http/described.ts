import type { FastifyInstance } from 'fastify';
import { z } from 'zod';

/**
 * What a route takes and answers. It stands at the route itself, and its schemas are those that the
 * route checks with, or that its answers have their types from; the OpenAPI document is made of it.
 */
export interface Described {
  readonly summary: string;
  /** By name, what a part of the path is. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: z.ZodObject;
  /** Of the query: those whose value is a text of JSON. */
  readonly jsonQuery?: Readonly<Record<string, z.ZodType>>;
  readonly headers?: z.ZodObject;
  /** JSON. */
  readonly body?: z.ZodType;
  /** By status. */
  readonly answers: Readonly<Record<number, Said>>;
  /** Whether nobody need say who he is. */
  readonly open?: boolean;
}

export interface Said {
  readonly words: string;
  /** What the document calls it, where several routes answer so. */
  readonly id?: string;
  /** By its media type; left out, there is none. */
  readonly body?: Readonly<Record<string, z.ZodType>>;
}

/** Of what is for browsers, or only says that something is not there. */
export const NO_API = 'no API';

declare module 'fastify' {
  interface FastifyContextConfig {
    described?: Described | typeof NO_API;
  }
}

/** The options of a route. */
export const described = (it: Described | typeof NO_API) => ({ config: { described: it } });

export const json = (words: string, schema: z.ZodType, id?: string): Said => ({
  words,
  body: { 'application/json': schema },
  ...(id !== undefined && { id }),
});

/** A schema that has a name in the document. */
export function named<T extends z.ZodType>(id: string, schema: T): T {
  NAMED.add(schema, { id });
  return schema;
}
export const NAMED = z.registry<{ id: string }>();

export interface Route {
  readonly method: string;
  /** As Fastify has it: with `:name` for what varies. */
  readonly url: string;
  /** Null where nobody said: a mistake, which a test finds. */
  readonly described: Described | typeof NO_API | null;
}

const routes = new WeakMap<FastifyInstance, Route[]>();

/** Keeps in mind each route that is added from now on. */
export function rememberRoutes(app: FastifyInstance): void {
  const its: Route[] = [];
  routes.set(app, its);
  app.addHook('onRoute', ({ method, url, config }) => {
    for (const one of [method].flat()) {
      its.push({ method: one, url, described: config?.described ?? null });
    }
  });
}

export const routesOf = (app: FastifyInstance): readonly Route[] => routes.get(app) ?? [];
