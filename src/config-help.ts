import type { DescribedOption } from '#ports/options.ts';

/** What an option is for, for the sample configuration and its manual page. */
export type Help = Omit<DescribedOption, 'group' | 'name' | 'fallback'>;

type Group = Readonly<Record<string, Help>>;

const text = (says: string): Help => ({ says, type: 'string' });
const flag = (says: string): Help => ({ says, type: 'boolean' });
const address = (says: string): Help => ({ says, type: 'host address' });
const uri = (says: string): Help => ({ says, type: 'URI' });
const port = (says: string): Help => ({ says, type: 'port', least: 0, most: 65535 });
const number = (least: number, most: number, says: string): Help => ({
  ...{ says, type: 'integer' },
  ...{ least, most },
});
const choice = (choices: readonly string[], says: string): Help => ({
  ...{ says, type: 'string' },
  choices,
});

const list = (says: string): Help => ({ says, type: 'list' });

/** keystoneauth's options of `auth_type` password and v3applicationcredential. */
export const LOGIN: Group = {
  auth_section: text('The group in which the options of auth_type stand. By default this one.'),
  auth_url: uri('Keystone, with or without /v3 at its end.'),
  username: text('Whose password it is; with the domain of the user.'),
  user_id: text('Instead of username and the domain of the user.'),
  user_domain_name: text('The domain of the user.'),
  user_domain_id: text('The same, by its id.'),
  password: text('The password.'),
  project_name: text('The project of the token; with its domain.'),
  project_id: text('Instead of project_name and its domain.'),
  project_domain_name: text('The domain of the project.'),
  project_domain_id: text('The same, by its id.'),
  default_domain_name: text('The domain of whichever has none of its own.'),
  default_domain_id: text('The same, by its id.'),
  application_credential_id: text('An application credential.'),
  application_credential_name: text('Instead of its id; with the user.'),
  application_credential_secret: text('Its secret.'),
};

const tls = (whose: string): Group => ({
  cafile: text(`Certificates of whoever may sign ${whose}. By default Node's own list.`),
  certfile: text('A certificate of our own, where one is asked for.'),
  keyfile: text('Its key.'),
  insecure: flag(`Whether to believe any certificate of ${whose}.`),
});

/** Of every option that is used; those that may be pasted and are not have none. */
export const HELP: Readonly<Record<string, Group>> = {
  DEFAULT: {
    host: text("The name of this compute host. By default the machine's own."),
    state_path: text(
      'The folder of the journal. Its last part is made when it is missing; it must lie on a ' +
        'disk that survives a power cut.',
    ),
    debug: flag('Whether to log what is of use to whoever looks for a defect only.'),
    log_file: text(
      'The log. By default it goes to standard error. SIGHUP opens it anew, after a rotation.',
    ),
    use_json: flag("Whether to log JSON, with the keys of oslo.log's JSONFormatter."),
  },
  api: {
    bind_host: address('The address on which Cinder reaches this service.'),
    bind_port: port('The port on which Cinder reaches this service.'),
    auth_strategy: choice(
      ['keystone', 'http_basic', 'noauth'],
      'How callers prove who they are: keystone with a token, see [keystone_authtoken] and ' +
        '[oslo_policy]; http_basic with a password; noauth not at all, on this machine only.',
    ),
    http_basic_auth_user_file: text(
      'The users of auth_strategy http_basic, one a line, as htpasswd -B writes them (bcrypt).',
    ),
    public_endpoint: uri(
      'This service as its callers reach it, for the links in its version documents. By default ' +
        'what the Host header says.',
    ),
    host_endpoints: {
      says:
        "The chainkeepers of other hosts, as HOST:URL,HOST:URL with Cinder's names of the hosts. " +
        'A request for a guest of theirs is sent on to them by a 307, credentials and all.',
      type: 'list',
    },
    cert_file: text('The certificate for TLS, with those in between. SIGHUP reads it anew.'),
    key_file: text('Its key.'),
    ca_file: text('Who must have signed the certificate that each caller then has to show.'),
    max_queued: number(1, 100_000, 'How many requests may wait for their answer at once.'),
  },
  libvirt: {
    connection_uri: text('The libvirt of this host.'),
    quiesce: choice(
      ['auto', 'required', 'never'],
      'Whether file systems are frozen while a snapshot is taken: auto where a guest agent is ' +
        'connected; required refuses or fails without one; never.',
    ),
    agent_timeout: number(1, 3600, 'Seconds that each command of the guest agent may take.'),
    bandwidth_mib: number(0, 1_000_000, 'MiB a second that a merge may copy. 0 is no limit.'),
    max_chain_depth: number(2, 200, 'How many layers a chain may have; libvirt allows 200.'),
    volume_directories: list('Where volumes may lie. By default wherever the XML of a guest says.'),
  },
  cinder: {
    auth_type: choice(
      ['password', 'v3password', 'v3applicationcredential', 'noauth', 'http_basic', 'none'],
      'How this service proves to Cinder who it is: password and v3applicationcredential with a ' +
        "token of Keystone's; noauth with user_id and project_id, as Cinder's own auth_strategy " +
        'noauth wants it; http_basic with username and password; none.',
    ),
    ...LOGIN,
    endpoint: uri(
      "Cinder's API, with its version: http://cinder.example:8776/v3. Where Keystone is asked, " +
        "instead of the catalog's; %(project_id)s stands for the project of the token.",
    ),
    endpoint_override: uri("keystoneauth's name of it, where Keystone is asked."),
    endpoint_template: uri("Nova's name of it, where Keystone is asked."),
    service_type: text('What the catalog calls Cinder. By default as catalog_info, or volumev3.'),
    service_name: text('Which of several, by its name.'),
    valid_interfaces: list(
      "Which of the catalog's URLs, in the order in which they are liked. By default as " +
        'interface, as catalog_info, or public.',
    ),
    interface: text('The same, for one.'),
    region_name: text('The region of the catalog. By default as os_region_name, or any.'),
    catalog_info: text("Nova's name of them all: volumev3::publicURL."),
    os_region_name: text("Nova's name of region_name."),
    ...tls("Cinder's and Keystone's"),
    timeout: number(1, 600, 'Seconds that one request to Cinder, or to Keystone, may take.'),
    status_dialect: choice(
      ['auto', 'spec', 'format', 'status', 'stock'],
      'What Cinder understands. auto tries each, from the most telling one, until it accepts.',
    ),
    create_timeout: number(
      ...[1, 86_400],
      'Seconds after which a create that is not done is undone. Cinder gives it up after 600.',
    ),
    delete_timeout: number(
      ...[1, 31_536_000],
      'Seconds after which Cinder gives a delete up. It goes on all the same.',
    ),
  },
  keystone_authtoken: {
    auth_type: choice(
      ['password', 'v3password', 'v3applicationcredential'],
      'How this service proves who it is, to ask Keystone about the tokens of callers. The user ' +
        'needs the role service, or admin.',
    ),
    ...LOGIN,
    www_authenticate_uri: uri('Where callers without a token get one. By default auth_url.'),
    auth_uri: uri('An older name of it.'),
    service_token_roles: list('Roles of which an X-Service-Token must have one.'),
    service_token_roles_required: flag(
      'Whether one without such a role is refused. If not, it lets no expired token pass.',
    ),
    token_cache_time: number(
      ...[-1, 86_400],
      'Seconds for which the answer about a token is believed: so long a revoked one passes. 0 ' +
        'and -1 are no time at all.',
    ),
    http_connect_timeout: number(1, 600, 'Seconds that one request to Keystone may take.'),
    ...tls("Keystone's"),
  },
  operator: {
    socket: text(
      'Where the commands of chainkeeper reach the service. Whoever may write to it may order ' +
        'snapshots: its owner and its group. The last folder of its path is made when missing.',
    ),
    bind_host: address(
      'The address of the page and the metrics. Beyond loopback [api] auth_strategy says who ' +
        'may see them, and [api] cert_file makes it TLS.',
    ),
    bind_port: port('The port of the page (/ui/) and the metrics. 0 is none.'),
  },
  oslo_policy: {
    policy_file: text(
      'Who may call, with auth_strategy keystone: os_compute_api:os-assisted-volume-snapshots:' +
        'create and :delete, and chainkeeper:operations:get for [operator] bind_port, each by ' +
        'default "rule:service_or_admin". Of the language of oslo.policy it may have role:NAME, ' +
        'rule:NAME, and, or, not, parentheses, @ and !.',
    ),
  },
};
