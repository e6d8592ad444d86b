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

/** Of every option but those that are keystoneauth's alone. */
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
      'How callers prove who they are. keystone is not there yet. noauth answers on this machine ' +
        'only.',
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
    cert_file: text('For TLS, which is not there yet: let a proxy on this host terminate it.'),
    key_file: text('For TLS, which is not there yet.'),
    ca_file: text('For TLS, which is not there yet.'),
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
    volume_directories: {
      says: 'Where volumes may lie. By default wherever the XML of a guest says.',
      type: 'list',
    },
  },
  cinder: {
    auth_type: choice(
      ['noauth', 'http_basic', 'none'],
      'How this service proves to Cinder who it is: noauth with user_id and project_id, as ' +
        "Cinder's own auth_strategy noauth wants it; http_basic with username and password; none.",
    ),
    endpoint: uri("Cinder's API, with its version: http://cinder.example:8776/v3."),
    user_id: text('For auth_type noauth.'),
    project_id: text('For auth_type noauth.'),
    username: text('For auth_type http_basic.'),
    password: text('For auth_type http_basic.'),
    cafile: text("Certificates of whoever may sign Cinder's. By default Node's own list."),
    certfile: text('A certificate of our own, that Cinder asks for.'),
    keyfile: text('Its key.'),
    insecure: flag("Whether to believe any certificate of Cinder's."),
    timeout: number(1, 600, 'Seconds that one request to Cinder may take.'),
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
  operator: {
    socket: text(
      'Where the commands of chainkeeper reach the service. Whoever may write to it may order ' +
        'snapshots: its owner and its group. The last folder of its path is made when missing.',
    ),
    bind_host: address('The address of the metrics.'),
    bind_port: port('The port of the metrics. 0 is none.'),
  },
  oslo_policy: {
    policy_file: text('Roles and rules, for auth_strategy keystone. Not read yet.'),
  },
};
