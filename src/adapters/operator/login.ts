import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { explainFault } from '#domain/failure.ts';
import type { Clock } from '#ports/clock.ts';
import type { LoginDesk } from '#ports/identity.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { described, NO_API } from '../http/described.ts';
import type { Authenticator, Verdict } from '../nova-api/auth.ts';
import { loginPage } from './page/login-page.ts';
import { cookieOf, NO_COOKIE, numberIn, Sessions } from './sessions.ts';
import { nameOf, placeOf, Tries } from './tries.ts';

export interface LoginOptions {
  readonly desk: LoginDesk;
  readonly auth: Authenticator;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly telemetry: Telemetry;
  readonly host: string;
}

const ASKED = { action: 'read', project: null } as const;

/**
 * A browser cannot bring X-Auth-Token, so here a person logs in, as with Horizon: Keystone is asked
 * for a token, which stays here, and judged by the same policy as one that is brought, with each
 * request. For TLS only: nothing else keeps a password to itself.
 */
export class Login {
  readonly #options: LoginOptions;
  readonly #sessions: Sessions;
  /** By address, and by user. */
  readonly #from: Tries;
  readonly #as: Tries;
  #waiting = 0;

  constructor(options: LoginOptions) {
    this.#options = options;
    this.#sessions = new Sessions(options.clock);
    this.#from = new Tries(options.clock);
    this.#as = new Tries(options.clock);
  }

  /** What is known of who asks: the token that they bring, else the one that is kept for them. */
  headersOf({ headers }: FastifyRequest): IncomingHttpHeaders {
    if (headers['x-auth-token'] !== undefined) return headers;
    const token = this.#tokenOf(headers);
    return token === null ? headers : { ...headers, 'x-auth-token': token };
  }

  hasSession({ headers }: FastifyRequest): boolean {
    return headers['x-auth-token'] === undefined && this.#tokenOf(headers) !== null;
  }

  /** What anybody may have: the form, and what makes it look like one. */
  isOpen({ routeOptions }: FastifyRequest): boolean {
    return OPEN.includes(routeOptions.url ?? '');
  }

  /** Of somebody who is not known: a page is answered with the form, and anything else is not. */
  send({ method, url, headers }: FastifyRequest, reply: FastifyReply): FastifyReply | null {
    if (!/^\/ui(\/|\?|$)/.test(url) || !['GET', 'HEAD'].includes(method)) return null;
    const elsewhere = headers['sec-fetch-site'] === 'cross-site' ? '&elsewhere=1' : '';
    reply.header('cache-control', 'no-store');
    return reply.redirect(`/ui/login?next=${encodeURIComponent(placeIn(url))}${elsewhere}`, 303);
  }

  addTo(app: FastifyInstance): void {
    app.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit: 8192 }, (_, body, done) => {
      done(null, Object.fromEntries(new URLSearchParams(String(body))));
    });
    type Asks = { Querystring: Readonly<Record<string, unknown>> };
    app.get<Asks>('/ui/login', described(NO_API), async (request, reply) => {
      const { next, elsewhere } = request.query;
      const form = { next: placeIn(next), problem: null, fromElsewhere: elsewhere === '1' };
      return this.#form(reply, 200, form);
    });
    const limit = { ...described(NO_API), bodyLimit: 8192 };
    app.post('/ui/login', limit, (request, reply) => this.#login(request, reply));
    app.post('/ui/logout', limit, (request, reply) => this.#logout(request, reply));
  }

  async #login(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!isOwnForm(request.headers)) return this.#form(reply, 403, { problem: FOREIGN });
    const said = Form.safeParse(request.body);
    if (!said.success) return this.#form(reply, 400, { problem: 'Fill in every field.' });
    const { user, domain, project, project_domain, password } = said.data;
    const form = { user, domain, project, next: placeIn(said.data.next) };
    const [place, person] = [placeOf(request.ip), nameOf(domain, user)];
    // In this order: who must wait locks nobody else out, and fills no memory with names.
    const wait = this.#from.begin(place) ?? this.#as.begin(person);
    if (wait !== null) {
      const problem = `Too many tries: wait for ${Math.ceil(wait / 60)} min.`;
      return this.#form(reply.header('retry-after', String(wait)), 429, { ...form, problem });
    }
    if (this.#waiting >= MOST_WAITING) return this.#form(reply, 503, { ...form, problem: BUSY });
    this.#waiting += 1;
    try {
      const projectDomain = project_domain || domain;
      const words = { user, password, domain, project, projectDomain };
      const verdict = await this.#judge(words, request.ip);
      if ('problem' in verdict) {
        return this.#form(reply, verdict.status, { ...form, problem: verdict.problem });
      }
      // Whoever has a password of his own may still guess those of others from the same place.
      this.#from.takeBack(place, false);
      this.#as.takeBack(person, true);
      await this.#end(request.headers);
      const number = this.#sessions.open(verdict.token, verdict.lifeMs);
      return reply.header('set-cookie', cookieOf(number)).redirect(form.next, 303);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** A token that may read here, or why there is none. The password is in no word of it. */
  async #judge(words: Parameters<LoginDesk['login']>[0], from: string) {
    const { desk, auth, telemetry } = this.#options;
    const lent = await desk.login(words);
    if (!lent.ok) {
      telemetry.log('warning', `A login on the page: ${explainFault(lent.error)}`);
      return { status: 503, problem: 'Keystone does not answer as it should: try again later.' };
    }
    if (lent.value === null) {
      telemetry.log('warning', `A login on the page, from ${from}: Keystone knows nobody so`);
      return { status: 401, problem: UNKNOWN };
    }
    const { token, user } = lent.value;
    const verdict: Verdict = await auth.authenticate({ 'x-auth-token': token }, ASKED);
    if (verdict.ok) {
      telemetry.log('info', `User ${user} has logged in on the page, from ${from}`);
      return lent.value;
    }
    telemetry.log(
      'warning',
      `A login on the page, from ${from}: ${verdict.why ?? verdict.message}`,
    );
    await desk.giveBack(token);
    return { status: verdict.status, problem: verdict.message };
  }

  async #logout(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!isOwnForm(request.headers)) return this.#form(reply, 403, { problem: FOREIGN });
    await this.#end(request.headers);
    return reply.header('set-cookie', NO_COOKIE).redirect('/ui/login', 303);
  }

  async #end({ cookie }: IncomingHttpHeaders): Promise<void> {
    const number = numberIn(cookie);
    const token = number === null ? null : this.#sessions.close(number);
    if (token !== null) await this.#options.desk.giveBack(token);
  }

  #tokenOf({ cookie }: IncomingHttpHeaders): string | null {
    const number = numberIn(cookie);
    return number === null ? null : this.#sessions.token(number);
  }

  #form(
    reply: FastifyReply,
    status: number,
    form: Partial<Omit<Parameters<typeof loginPage>[0], 'host'>>,
  ): FastifyReply {
    const { host } = this.#options;
    reply.code(status).type('text/html; charset=utf-8').header('cache-control', 'no-store');
    const whole = { next: '/ui/', problem: null, fromElsewhere: false, ...form, host };
    return reply.send(loginPage(whole));
  }
}

const FORM = 'application/x-www-form-urlencoded';
const OPEN = ['/ui/login', '/ui/logout', '/ui/page.css', '/ui/icon.svg'];
const MOST_WAITING = 8;

const UNKNOWN = 'Keystone does not know this user, password, domain and project together.';
const BUSY = 'Too many logins are under way: try again.';
const FOREIGN = 'This came from another site. Fill in the form here.';

const word = z.string().min(1).max(255);
const Form = z.object({
  user: word,
  password: z.string().min(1).max(4096),
  domain: word,
  project: word,
  project_domain: z.string().max(255).default(''),
  next: z.string().max(2048).default('/ui/'),
});

/**
 * Whether a form was sent by a page of ours, and not by one that wants to log somebody in or out:
 * what Go's http.CrossOriginProtection asks. Every browser sends one of the two with a POST; who
 * sends neither is none, and nobody's cookie is with it.
 */
function isOwnForm({ 'sec-fetch-site': site, origin, host }: IncomingHttpHeaders): boolean {
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  return origin === undefined || origin === `https://${host}`;
}

/** A place of the page, else its beginning: nobody is led elsewhere by a link to the form. */
function placeIn(next: unknown): string {
  const place = typeof next === 'string' && /^\/ui\/[\w\-./?=&%:]*$/.test(next) ? next : '/ui/';
  return /^\/ui\/log(in|out)\b/.test(place) ? '/ui/' : place;
}
