import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { err, ok, type Result } from '#domain/result.ts';

/** Where openstackclient and its kin look for what a person may do. */
export interface CloudPlaces {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** One cloud's words, by the names that keystoneauth has for them in a service's configuration. */
export interface Cloud {
  /** The file, or the environment. */
  readonly where: string;
  readonly options: ReadonlyMap<string, string>;
}

/** openstacksdk's name of the cloud that OS_* tell of. */
const ENVIRONMENT = 'envvars';

/** The cloud of that name in clouds.yaml (and secure.yaml), or what OS_* tell of, as `envvars`. */
export function cloudNamed(name: string, places: CloudPlaces): Result<Cloud, string> {
  if (name === ENVIRONMENT) return ok({ where: 'OS_*', options: fromEnvironment(places.env) });
  try {
    const clouds = firstOf('clouds', places);
    if (clouds === null) return err(`there is no clouds.yaml in ${folders(places).join(', ')}`);
    const found = record(record(clouds.content).clouds);
    if (!Object.hasOwn(found, name)) {
      const there = Object.keys(found).join(', ') || 'none';
      return err(`${clouds.path} has no cloud '${name}': there are ${there}`);
    }
    const secure = firstOf('secure', places);
    const secrets = record(record(secure?.content).clouds)[name];
    const cloud = merged(record(found[name]), record(secrets));
    if (cloud.profile !== undefined) {
      return err(
        `${clouds.path}: a profile, as of cloud '${name}', is not looked up: write it out`,
      );
    }
    return ok({ where: clouds.path, options: fromFile(cloud) });
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

/** openstacksdk's names (config/cloud_region.py), where they are not keystoneauth's. */
const NAMES: Readonly<Record<string, string>> = {
  cacert: 'cafile',
  cert: 'certfile',
  key: 'keyfile',
  endpoint_type: 'interface',
  tenant_name: 'project_name',
  tenant_id: 'project_id',
  block_storage_endpoint_override: 'endpoint_override',
  volume_endpoint_override: 'endpoint_override',
  volumev3_endpoint_override: 'endpoint_override',
};

function fromFile({ auth, verify, ...rest }: Readonly<Record<string, unknown>>) {
  const insecure = verify === false ? { insecure: 'true' } : {};
  return options({ auth_type: 'password', ...rest, ...record(auth), ...insecure });
}

function fromEnvironment(env: CloudPlaces['env']): ReadonlyMap<string, string> {
  const said = Object.entries(env).flatMap(([name, value]) => {
    // OS_<GROUP>__<OPTION> is ours, and of every other service.
    const [, option] = /^OS_((?:(?!__)[A-Z0-9_])+)$/.exec(name) ?? [];
    return option === undefined || !value ? [] : [[option.toLowerCase(), value] as const];
  });
  return options({ auth_type: 'password', ...Object.fromEntries(said) });
}

function options(said: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> {
  const words = Object.entries(said).filter(([, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value),
  );
  return new Map(words.map(([name, value]) => [NAMES[name] ?? name, String(value)]));
}

/** The first of `clouds.yaml` and its like, as openstacksdk looks (config/loader.py). */
function firstOf(kind: 'clouds' | 'secure', places: CloudPlaces) {
  const { env } = places;
  const named = kind === 'clouds' ? env.OS_CLIENT_CONFIG_FILE : env.OS_CLIENT_SECURE_FILE;
  const usual = folders(places).flatMap((folder) =>
    ['yaml', 'yml', 'json'].map((kindOf) => join(folder, `${kind}.${kindOf}`)),
  );
  for (const path of [...(named ? [named] : []), ...usual]) {
    const text = read(path);
    if (text === null) continue;
    return { path, content: contentOf(text, path) };
  }
  return null;
}

/** What is wrong is told without the parser's words: they quote, and here are passwords. */
function contentOf(text: string, path: string): unknown {
  const document = parseDocument(text, { prettyErrors: false });
  const [problem] = document.errors;
  try {
    if (problem === undefined) return document.toJS();
  } catch {}
  throw new Error(`${path} is no YAML (${problem?.code ?? 'BAD_ALIAS'})`);
}

const folders = ({ cwd, env }: CloudPlaces): readonly string[] => [
  cwd,
  ...(env.HOME ? [join(env.XDG_CONFIG_HOME ?? join(env.HOME, '.config'), 'openstack')] : []),
  '/etc/openstack',
];

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

type Words = Readonly<Record<string, unknown>>;

const record = (it: unknown): Words =>
  typeof it === 'object' && it !== null && !Array.isArray(it) ? { ...it } : {};

/** secure.yaml has the same form, and its words count. */
function merged(one: Words, other: Words): Words {
  return { ...one, ...other, auth: { ...record(one.auth), ...record(other.auth) } };
}
