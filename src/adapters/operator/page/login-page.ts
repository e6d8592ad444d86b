import { bare } from './frame.ts';
import { type Html, html } from './html.ts';

export interface LoginForm {
  readonly host: string;
  /** Where one wanted to go, and will. */
  readonly next: string;
  /** What is in the way, if something was. */
  readonly problem: string | null;
  readonly user?: string;
  readonly domain?: string;
  readonly project?: string;
  /** Whether another site led here: then a browser keeps to itself that one has logged in. */
  readonly fromElsewhere: boolean;
}

/** Works without a script, and has none. */
export function loginPage(form: LoginForm): string {
  const { host, next, problem, user = '', domain = 'Default', project = '' } = form;
  const field = (name: string, words: string, attributes: Html): Html =>
    html`<p><label for="${name}">${words}</label>
<input id="${name}" name="${name}" ${attributes}></p>`;
  return bare({
    host,
    title: 'Log in',
    main: html`<h1>Log in</h1>
${problem === null ? null : html`<p class="problem" role="alert">${problem}</p>`}
${form.fromElsewhere ? html`<p>Logged in already? <a href="${next}">Go on</a>.</p>` : null}
<form method="post" action="/ui/login" class="login">
<input type="hidden" name="next" value="${next}">
${field('user', 'User', html`value="${user}" autocomplete="username" required autofocus`)}
${field('password', 'Password', html`type="password" autocomplete="current-password" required`)}
${field('domain', 'Domain', html`value="${domain}" required`)}
${field('project', 'Project', html`value="${project}" required`)}
${field('project_domain', "The project's domain, if it is another", html`value=""`)}
<p><button type="submit">Log in</button></p>
</form>
<p>Keystone is asked; the password is not kept.</p>`,
  });
}
