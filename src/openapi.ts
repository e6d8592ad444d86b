import { type Route, routesOf } from '#adapters/http/described.ts';
import { asYaml, openapi } from '#adapters/http/openapi.ts';
import { noAuth } from '#adapters/nova-api/auth.ts';
import { ANY_FAULT } from '#adapters/nova-api/described.ts';
import { novaApi } from '#adapters/nova-api/server.ts';
import { adminApp } from '#adapters/operator/admin-api.ts';
import { ANY_ERROR } from '#adapters/operator/admin-routes.ts';
import { version } from '#adapters/operator/version.ts';
import { systemClock } from '#adapters/system/clock.ts';

/**
 * The OpenAPI document of all that is served, made of the routes as they are added: so a route
 * cannot be forgotten, and what it takes and answers is what it checks with.
 */
export function openapiDocument(): object {
  made ??= make();
  return made;
}

/** It takes a tenth of a second, in which nothing else is done, and is always the same. */
let made: object | null = null;

function make(): object {
  const info = {
    title: 'chainkeeper',
    version: version(),
    summary: "Snapshots of Cinder's file-backed volumes that are attached to libvirt guests",
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  };
  return openapi(info, [
    {
      tag: 'assisted snapshots',
      about: 'What Cinder asks of Nova, as Nova has it.',
      server: { url: 'http://127.0.0.1:8797', description: '[api] bind_host and bind_port' },
      security: [['keystone'], ['keystone', 'service'], ['basic'], []],
      routes: cinderRoutes(),
      otherwise: ANY_FAULT,
    },
    {
      tag: 'admin',
      about: 'For the operator, on a unix socket that is open to its owner and group.',
      server: { url: 'http://localhost', description: 'Over [operator] socket' },
      security: [],
      routes: adminRoutes(),
      otherwise: ANY_ERROR,
    },
  ]);
}

/** The same, as docs/openapi.yaml has it. */
export const openapiText = (): string =>
  `# Made by "npm run openapi".\n${asYaml(openapiDocument())}`;

/** Neither app is ever asked anything: only what they would serve is looked at. */
export function cinderRoutes(): readonly Route[] {
  const never = async () => null;
  const unasked = { assisted: UNASKED, telemetry: UNASKED, auth: noAuth(), health: never };
  return routesOf(novaApi({ ...unasked, clock: systemClock, maxQueued: 1, publicEndpoint: null }));
}

export function adminRoutes(): readonly Route[] {
  const unasked = { assisted: UNASKED, inspect: UNASKED, operate: UNASKED, telemetry: UNASKED };
  const document = openapiDocument;
  const world = { ...unasked, measures: UNASKED, clock: systemClock, host: '', document };
  return routesOf(adminApp(world));
}

const UNASKED = {} as never;
