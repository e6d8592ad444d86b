import type { IncomingHttpHeaders } from 'node:http';
import { explainFault } from '#domain/failure.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Token } from '../keystone/token.ts';
import type { TokenValidator } from '../keystone/validator.ts';
import type { Asked, Authenticator, Verdict } from './auth.ts';
import { type Policy, passes, ruleOf } from './policy.ts';

export interface TokenAuthOptions {
  readonly validator: Pick<TokenValidator, 'validate'> & Partial<AsyncDisposable>;
  readonly policy: Policy;
  /** Where whoever has no token may get one. */
  readonly wwwAuthenticateUri: string;
  /** What makes X-Service-Token one, and whether it counts without. */
  readonly serviceTokens: { readonly roles: readonly string[]; readonly required: boolean };
  readonly telemetry: Telemetry;
}

/**
 * Keystone's tokens, judged as keystonemiddleware does (auth_token/__init__.py) and by Nova's
 * policy. A service token that is good lets the user's be expired: Cinder may have waited long.
 */
export function tokenAuth(options: TokenAuthOptions): Authenticator {
  return {
    async authenticate(headers, asked) {
      const verdict = await judge(options, headers, asked);
      if (!verdict.ok) options.telemetry.log('info', `Not let in: ${verdict.why}`);
      return verdict;
    },
    [Symbol.asyncDispose]: async () => options.validator[Symbol.asyncDispose]?.(),
  };
}

type Judged = Verdict & ({ readonly ok: true } | { readonly ok: false; readonly why: string });

async function judge(
  options: TokenAuthOptions,
  headers: IncomingHttpHeaders,
  { action, project }: Asked,
): Promise<Judged> {
  const service = tokenIn(headers, 'x-service-token');
  const allowExpired = service === null ? false : await serves(options, service);
  if (typeof allowExpired !== 'boolean') return allowExpired;
  const user = tokenIn(headers, 'x-auth-token');
  if (user === null) return unauthorized(options, 'there is no X-Auth-Token');
  const token = await look(options, user, allowExpired);
  if ('ok' in token) return token;
  if (token.restricted) {
    // What its rules allow is told by service and path, and ours has no name in the catalog.
    return unauthorized(options, 'an application credential with access rules is not taken');
  }
  if (project !== null && project !== token.project) {
    const message =
      `Malformed request URL: URL's project_id '${project}' doesn't match ` +
      `Context's project_id '${token.project}'`;
    return { ok: false, status: 400, message, why: message };
  }
  if (token.project !== null && passes(options.policy[action], token.roles)) {
    return { ok: true, user: token.user };
  }
  const message = `Policy doesn't allow ${ruleOf(action)} to be performed.`;
  const has = token.roles.join(', ') || 'no role';
  const scope = token.project === null ? 'no project' : `project ${token.project}`;
  const why = `${ruleOf(action)} is not for user ${token.user}, who has ${has} in ${scope}`;
  return { ok: false, status: 403, message, why };
}

/** Whether the user's token may be expired, by the service's; or why nobody gets in with it. */
async function serves(options: TokenAuthOptions, text: string): Promise<boolean | Judged> {
  const { roles, required } = options.serviceTokens;
  const token = await look(options, text, false);
  if ('ok' in token) return token;
  const serves = token.roles.some((role) => roles.includes(role));
  if (serves || !required) return serves;
  return unauthorized(options, `X-Service-Token has none of the roles ${roles.join(', ')}`);
}

async function look(
  options: TokenAuthOptions,
  text: string,
  allowExpired: boolean,
): Promise<Token | (Judged & { ok: false })> {
  const found = await options.validator.validate(text, allowExpired);
  if (!found.ok) {
    const message = 'The Keystone service is temporarily unavailable.';
    options.telemetry.log('warning', `No token can be judged: ${explainFault(found.error)}`);
    return { ok: false, status: 503, message, why: message };
  }
  if (found.value !== null) return found.value;
  return unauthorized(options, 'Keystone does not know the token, or it has ended');
}

function unauthorized({ wwwAuthenticateUri }: TokenAuthOptions, why: string) {
  return {
    ok: false,
    status: 401,
    message: 'The request you have made requires authentication.',
    wwwAuthenticate: `Keystone uri="${wwwAuthenticateUri}"`,
    why,
  } as const;
}

function tokenIn(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}
