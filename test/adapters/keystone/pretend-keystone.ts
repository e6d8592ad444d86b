/**
 * The part of Keystone's v3 API that we call, over loopback, as its sources do it
 * (keystone/api/auth.py, keystone/token/provider.py): a token for whoever is known, and what a
 * token is to whoever may ask. test/live/keystone.test.ts asks the real one the same.
 */
import { json, Loopback } from '../cinder/pretend-cinder.ts';

export interface PretendToken {
  readonly roles?: readonly string[];
  readonly project?: string | null;
  readonly catalog?: readonly unknown[];
  /** Seconds from its issue; may lie in the past. */
  readonly lifeS?: number;
  readonly more?: object;
}

export interface Pretended {
  /** What a login gets; null refuses it. */
  login: PretendToken | null;
  /** Tokens that are good, besides those that logins made. */
  readonly tokens: Map<string, PretendToken>;
  /** When set, the answer to everything. */
  broken: { readonly status: number; readonly body?: unknown } | null;
  /** Milliseconds before each answer. */
  delayMs: number;
  /** What was revoked, by which token. */
  readonly revoked: { readonly token: string; readonly by: string }[];
  /** Whether the tokens that logins made are still good. */
  trusts: boolean;
}

export type PretendKeystone = Loopback & { readonly state: Pretended; readonly authUrl: string };

export const PROJECT = '5d1ccd2d4d5d4a9d8a5a2f3f3a3c2b1a';
export const CATALOG = [
  {
    type: 'volumev3',
    name: 'cinderv3',
    endpoints: [
      { interface: 'internal', region: 'east', region_id: 'east', url: 'http://inside:8776/v3/p' },
      { interface: 'public', region: 'east', region_id: 'east', url: 'http://outside:8776/v3/p' },
      { interface: 'public', region: 'west', region_id: 'west', url: 'http://west:8776/v3/p' },
    ],
  },
];

export async function pretendKeystone(start: Partial<Pretended> = {}): Promise<PretendKeystone> {
  const state: Pretended = {
    login: { catalog: CATALOG },
    tokens: new Map(),
    broken: null,
    delayMs: 0,
    revoked: [],
    trusts: true,
    ...start,
  };
  const made = new Set<string>();
  const server = await Loopback.open(async ({ method, url = '', headers }, response) => {
    await new Promise((done) => setTimeout(done, state.delayMs));
    if (state.broken !== null) return json(response, state.broken.status, state.broken.body ?? {});
    if (!url.startsWith('/identity/v3/auth/tokens')) return fault(response, 404, 'Not Found');
    if (method === 'POST') {
      if (state.login === null) return fault(response, 401, 'Unauthorized');
      const text = `ours-${made.size + 1}`;
      made.add(text);
      response.setHeader('X-Subject-Token', text);
      return json(response, 201, tokenBody(state.login));
    }
    const own = String(headers['x-auth-token']);
    if (!state.trusts || !made.has(own)) return fault(response, 401, 'Unauthorized');
    if (method === 'DELETE') {
      state.revoked.push({ token: String(headers['x-subject-token']), by: own });
      response.writeHead(204).end();
      return;
    }
    const subject = state.tokens.get(String(headers['x-subject-token']));
    const expired = (subject?.lifeS ?? 1) <= 0 && !url.includes('allow_expired=1');
    if (subject === undefined || expired) return fault(response, 404, 'Not Found');
    json(response, 200, tokenBody(subject));
  });
  return Object.assign(server, { state, authUrl: `${server.url}/identity` });
}

function tokenBody({ roles, project = PROJECT, catalog, lifeS = 3600, more }: PretendToken) {
  const now = Date.now();
  return {
    token: {
      methods: ['password'],
      user: { id: 'u-1', name: 'cinder', domain: { id: 'default', name: 'Default' } },
      audit_ids: ['A'],
      roles: (roles ?? ['service']).map((name) => ({ id: `id-of-${name}`, name })),
      ...(project !== null && { project: { id: project, name: 'service' } }),
      ...(catalog && { catalog }),
      issued_at: new Date(now).toISOString().replace('Z', '000Z'),
      expires_at: new Date(now + lifeS * 1000).toISOString().replace('Z', '000Z'),
      ...more,
    },
  };
}

type Response = Parameters<typeof json>[0];

function fault(response: Response, code: number, title: string): void {
  const message = `${title}: the pretend Keystone says no.`;
  json(response, code, { error: { code, title, message } });
}
