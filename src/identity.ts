import { readFileSync } from 'node:fs';
import { type Authorizer, httpBasic, keystone, noauth, none } from '#adapters/cinder/auth.ts';
import { Rest } from '#adapters/cinder/rest.ts';
import { KeystoneDesk } from '#adapters/keystone/desk.ts';
import { KeystoneHttp } from '#adapters/keystone/http.ts';
import type { Login } from '#adapters/keystone/login.ts';
import { KeystoneSession } from '#adapters/keystone/session.ts';
import { TokenValidator } from '#adapters/keystone/validator.ts';
import { type Authenticator, noAuth, httpBasic as novaHttpBasic } from '#adapters/nova-api/auth.ts';
import { tokenAuth } from '#adapters/nova-api/token-auth.ts';
import { systemClock } from '#adapters/system/clock.ts';
import {
  type CinderConfig,
  type Config,
  isOwn,
  type KeystoneConfig,
  type TlsConfig,
} from './config.ts';
import { StartupProblem } from './startup-problem.ts';

/** Cinder, as [cinder] says who we are to it. */
export function restFor(cinder: CinderConfig): Rest {
  const { timeoutMs } = cinder;
  const authorizer = authorizerFor(cinder);
  return new Rest({ authorizer, tls: tlsOf(cinder), headersTimeoutMs: timeoutMs });
}

function authorizerFor(cinder: CinderConfig): Authorizer {
  const { auth } = cinder;
  const endpoint = cinder.endpoint ?? '';
  switch (auth.type) {
    case 'none':
      return none({ endpoint });
    case 'noauth':
      return noauth({ endpoint, userId: auth.userId, projectId: auth.projectId });
    case 'http_basic':
      return httpBasic({ endpoint, username: auth.username, password: auth.password.reveal() });
    case 'keystone': {
      const session = sessionFor(auth.login, cinder, cinder.endpoint === null);
      return keystone({ identity: session, wanted: auth.wanted, endpoint: cinder.endpoint });
    }
  }
}

/** Who may call, as [api] auth_strategy says. */
export function authenticatorFor(config: Config): Authenticator {
  const { api } = config;
  if (config.keystone !== null) return tokenAuthFor(config.keystone);
  if (api.authStrategy === 'noauth' || api.httpBasicAuthUserFile === null) return noAuth();
  try {
    return novaHttpBasic(readFileSync(api.httpBasicAuthUserFile, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StartupProblem(`${api.httpBasicAuthUserFile}: ${why}`);
  }
}

/**
 * Where people log in on the page, when callers bring tokens; null where a password could be read,
 * or asked for by somebody else, on its way to Keystone.
 */
export function deskFor({ keystone: config }: Config): KeystoneDesk | null {
  if (config === null) return null;
  const { protocol, hostname } = new URL(config.login.authUrl);
  const safe = (protocol === 'https:' && !config.insecure) || isOwn(hostname.replace(/[[\]]/g, ''));
  return safe ? new KeystoneDesk(httpFor(config.login, config)) : null;
}

function tokenAuthFor(config: KeystoneConfig): Authenticator {
  const { policy, wwwAuthenticateUri, serviceTokenRoles, serviceTokenRolesRequired } = config;
  const serviceTokens = { roles: serviceTokenRoles, required: serviceTokenRolesRequired };
  const session = sessionFor(config.login, config, false);
  const cacheMs = config.tokenCacheMs;
  const judge = new TokenValidator({ session, clock: systemClock, cacheMs });
  return tokenAuth({ judge, policy, wwwAuthenticateUri, serviceTokens });
}

type Reached = TlsConfig & { readonly timeoutMs: number };

/** A user of Keystone's; `catalog` is whether to ask where the services are. */
export function sessionFor(login: Login, config: Reached, catalog: boolean): KeystoneSession {
  return new KeystoneSession({ login, http: httpFor(login, config), clock: systemClock, catalog });
}

function httpFor({ authUrl }: Login, config: Reached): KeystoneHttp {
  return new KeystoneHttp({ authUrl, tls: tlsOf(config), headersTimeoutMs: config.timeoutMs });
}

const tlsOf = ({ insecure, caFile, certFile, keyFile }: TlsConfig) => ({
  insecure,
  ...(caFile !== null && { cafile: caFile }),
  ...(certFile !== null && { certfile: certFile }),
  ...(keyFile !== null && { keyfile: keyFile }),
});
