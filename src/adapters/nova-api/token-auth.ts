import type { IncomingHttpHeaders } from 'node:http';
import { explainFault } from '#domain/failure.ts';
import type { Holder, TokenJudge } from '#ports/identity.ts';
import type { Asked, Authenticator, Verdict } from './auth.ts';
import { type Policy, passes, ruleOf } from './policy.ts';

export interface TokenAuthOptions {
  readonly judge: TokenJudge;
  readonly policy: Policy;
  /** Where whoever has no token may get one. */
  readonly wwwAuthenticateUri: string;
  /** What makes X-Service-Token one, and whether it counts without. */
  readonly serviceTokens: { readonly roles: readonly string[]; readonly required: boolean };
}

/**
 * Keystone's tokens, judged as keystonemiddleware does (auth_token/__init__.py) and by Nova's
 * policy. A service token that is good lets the user's be expired: Cinder may have waited long.
 */
export function tokenAuth(options: TokenAuthOptions): Authenticator {
  return {
    authenticate: (headers, asked) => authenticate(options, headers, asked),
    [Symbol.asyncDispose]: () => options.judge[Symbol.asyncDispose](),
  };
}

type No = Verdict & { readonly ok: false };

async function authenticate(
  options: TokenAuthOptions,
  headers: IncomingHttpHeaders,
  { action, project }: Asked,
): Promise<Verdict> {
  const service = tokenIn(headers, 'x-service-token');
  const allowExpired = service === null ? false : await serves(options, service);
  if (typeof allowExpired !== 'boolean') return allowExpired;
  const user = tokenIn(headers, 'x-auth-token');
  if (user === null) return unauthorized(options, 'there is no X-Auth-Token');
  const holder = await look(options, user, allowExpired);
  if ('ok' in holder) return holder;
  if (holder.restricted) {
    // What its rules allow is told by service and path, and ours has no name in the catalog.
    return unauthorized(options, 'an application credential with access rules is not taken');
  }
  if (project !== null && project !== holder.project) {
    const message =
      `Malformed request URL: URL's project_id '${project}' doesn't match ` +
      `Context's project_id '${holder.project}'`;
    return { ok: false, status: 400, message, why: message };
  }
  const { project: within, roles, user: name } = holder;
  if (within !== null && passes(options.policy[action], roles)) {
    return { ok: true, user: name, project: within };
  }
  const scope = within === null ? 'no project' : `project ${within}`;
  const has = `${roles.join(', ') || 'no role'} in ${scope}`;
  return {
    ok: false,
    status: 403,
    message: `Policy doesn't allow ${ruleOf(action)} to be performed.`,
    why: `${ruleOf(action)} is not for user ${name}, who has ${has}`,
  };
}

/** Whether the user's token may be expired, by the service's; or why nobody gets in with it. */
async function serves(options: TokenAuthOptions, text: string): Promise<boolean | No> {
  const { roles, required } = options.serviceTokens;
  const holder = await look(options, text, false);
  if ('ok' in holder) return holder;
  const serves = holder.roles.some((role) => roles.includes(role));
  if (serves || !required) return serves;
  return unauthorized(options, `X-Service-Token has none of the roles ${roles.join(', ')}`);
}

async function look(
  options: TokenAuthOptions,
  text: string,
  allowExpired: boolean,
): Promise<Holder | No> {
  const found = await options.judge.validate(text, allowExpired);
  if (!found.ok) {
    const message = 'The Keystone service is temporarily unavailable.';
    return { ok: false, status: 503, message, why: explainFault(found.error) };
  }
  if (found.value !== null) return found.value;
  return unauthorized(options, 'Keystone does not know the token, or it has ended');
}

function unauthorized({ wwwAuthenticateUri }: TokenAuthOptions, why: string): No {
  return {
    ok: false,
    status: 401,
    message: 'The request you have made requires authentication.',
    wwwAuthenticate: `Keystone uri="${wwwAuthenticateUri}"`,
    why,
  };
}

function tokenIn(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}
