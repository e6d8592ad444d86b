import type { Fault } from '#domain/failure.ts';
import type { Result } from '#domain/result.ts';

/** Who we are to others, proven by a token that is kept fresh. */
export interface Identity extends AsyncDisposable {
  /** A token with some life left in it. */
  access(): Promise<Result<Access, Fault>>;
  /** Another one than this, which somebody refused. */
  renew(rejected: string): Promise<Result<Access, Fault>>;
  /** Words that nobody may read in a log, a journal or an answer. */
  secrets(): readonly string[];
}

/** What a token says of whoever has it. */
export interface Holder {
  readonly user: string;
  readonly roles: readonly string[];
  /** Null when it is of no project: of a domain, of the system, or of nothing. */
  readonly project: string | null;
  /** Whether it is good for some requests only (an application credential's access rules). */
  readonly restricted: boolean;
}

/** A token of our own, and where the services are that take it. */
export interface Access extends Holder {
  /** What X-Auth-Token carries. */
  readonly text: string;
  /** Empty when it was not asked for. */
  readonly catalog: readonly CatalogService[];
}

export interface CatalogService {
  readonly type: string;
  /** Null where Keystone does not say (before its API 3.3). */
  readonly name: string | null;
  readonly endpoints: readonly {
    readonly interface: string;
    readonly url: string;
    readonly region: string | null;
  }[];
}

/** Who the others are. */
export interface TokenJudge extends AsyncDisposable {
  /**
   * What a token is, or null for one that is none: unknown, revoked, or expired where that is not
   * allowed. A fault is no word about the token.
   */
  validate(text: string, allowExpired: boolean): Promise<Result<Holder | null, Fault>>;
}

/** Where people get a token, who cannot bring one. */
export interface LoginDesk extends AsyncDisposable {
  /** Null for whoever is not known so: the user, the password, or the project is another. */
  login(words: Words): Promise<Result<Lent | null, Fault>>;
  /** From then on the token is none. */
  giveBack(token: string): Promise<void>;
}

/** What a person says; names, as the person knows them. */
export interface Words {
  readonly user: string;
  readonly password: string;
  readonly domain: string;
  readonly project: string;
  readonly projectDomain: string;
}

export interface Lent {
  readonly token: string;
  /** The user's id. */
  readonly user: string;
  readonly lifeMs: number;
}
