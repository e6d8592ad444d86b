/** What Keystone says of a token, and nothing else: pure. */
import { z } from 'zod';
import { err, ok, type Result } from '#domain/result.ts';
import type { CatalogService, Holder } from '#ports/identity.ts';

export interface Token extends Holder {
  /** By Keystone's clock, in milliseconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly catalog: readonly CatalogService[];
}

const word = z.string().min(1);
const moment = z.string().transform((text, context) => {
  const at = Date.parse(text);
  if (Number.isFinite(at)) return at;
  context.addIssue({ code: 'custom', message: 'is no date' });
  return z.NEVER;
});

const endpoint = z.object({
  interface: word,
  url: z.string().nullish(),
  region: z.string().nullish(),
  region_id: z.string().nullish(),
});
const service = z.object({
  type: word,
  name: z.string().nullish(),
  endpoints: z.array(endpoint).default([]),
});
const answer = z.object({
  token: z.object({
    user: z.object({ id: word }),
    roles: z.array(z.object({ name: word })).default([]),
    project: z.object({ id: word }).nullish(),
    issued_at: moment,
    expires_at: moment,
    application_credential: z.object({ access_rules: z.unknown().optional() }).nullish(),
    catalog: z.array(service).default([]),
  }),
});

/** Of POST and of GET alike. The error names where the answer is wrong, never what it says. */
export function parseToken(body: unknown): Result<Token, string> {
  const parsed = answer.safeParse(body);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => issue.path.join('.') || 'the whole');
    return err(`its answer does not describe a token (see ${[...new Set(wrong)].join(', ')})`);
  }
  const { token } = parsed.data;
  return ok({
    user: token.user.id,
    roles: token.roles.map(({ name }) => name),
    project: token.project?.id ?? null,
    issuedAt: token.issued_at,
    expiresAt: token.expires_at,
    // Keystone leaves the key out, or null, where there are no rules.
    restricted: (token.application_credential?.access_rules ?? null) !== null,
    catalog: token.catalog.map(({ type, name, endpoints }) => ({
      type,
      name: name ?? null,
      endpoints: endpoints.map((it) => ({
        interface: it.interface,
        url: it.url ?? '',
        region: it.region_id ?? it.region ?? null,
      })),
    })),
  });
}
