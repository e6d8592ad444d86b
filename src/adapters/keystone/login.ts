/** A value that is asked for where it is sent, and nowhere else. */
export interface Hidden {
  reveal(): string;
}

/** A domain as Keystone takes it: by its id, or by its name. */
export type Domain = { readonly id: string } | { readonly name: string };

/** A user or a project: by its id, or by its name within a domain. */
export type Named = { readonly id: string } | { readonly name: string; readonly domain: Domain };

/** How we prove to Keystone who we are; the types are keystoneauth's plugins by their names. */
export type Login =
  | {
      readonly type: 'password';
      readonly authUrl: string;
      readonly user: Named;
      readonly password: Hidden;
      readonly project: Named;
    }
  | {
      readonly type: 'v3applicationcredential';
      readonly authUrl: string;
      readonly credential:
        | { readonly id: string }
        | { readonly name: string; readonly user: Named };
      readonly secret: Hidden;
    };

/** The body of POST /v3/auth/tokens (keystoneauth1/identity/v3). */
export function loginBody(login: Login): unknown {
  switch (login.type) {
    case 'password': {
      const user = { ...login.user, password: login.password.reveal() };
      const identity = { methods: ['password'], password: { user } };
      return { auth: { identity, scope: { project: login.project } } };
    }
    case 'v3applicationcredential': {
      // The credential is of one project: Keystone refuses a scope beside it.
      const credential = { ...login.credential, secret: login.secret.reveal() };
      const identity = {
        methods: ['application_credential'],
        application_credential: credential,
      };
      return { auth: { identity } };
    }
  }
}

export function secretOf(login: Login): string {
  return (login.type === 'password' ? login.password : login.secret).reveal();
}
