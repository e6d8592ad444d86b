import { err, ok, type Result } from '#domain/result.ts';
import type { CatalogService } from '#ports/identity.ts';

/** keystoneauth's adapter options, for Cinder. */
export interface Wanted {
  readonly serviceType: string;
  readonly serviceName: string | null;
  /** In the order in which they are liked. */
  readonly interfaces: readonly string[];
  readonly region: string | null;
}

/** Both names of Cinder's v3 API (service-types-authority); volumev2 and volume are older ones. */
const ALIASES: readonly string[] = ['volumev3', 'block-storage'];

/**
 * The URL of a service, chosen as keystoneauth does (access/service_catalog.py): the type that was
 * asked for before its alias, the interfaces in their order, a name only where the catalog has one.
 */
export function urlIn(catalog: readonly CatalogService[], wanted: Wanted): Result<string, string> {
  const { serviceType: type, interfaces, region, serviceName } = wanted;
  const types = ALIASES.includes(type) ? [type, ...ALIASES.filter((it) => it !== type)] : [type];
  const named = catalog.filter(({ name }) => !serviceName || !name || name === serviceName);
  for (const alias of types) {
    const endpoints = named
      .filter((it) => it.type === alias)
      .flatMap((it) => it.endpoints)
      .filter((it) => it.url !== '' && (region === null || it.region === region));
    for (const face of interfaces) {
      const found = endpoints.find((it) => it.interface === face);
      if (found !== undefined) return ok(found.url);
    }
  }
  const where = region === null ? '' : ` in region ${region}`;
  const name = serviceName === null ? '' : ` of the name ${serviceName}`;
  const what = `${types.join(' or ')}${name}, ${interfaces.join(' or ')}${where}`;
  const types_ = [...new Set(catalog.map((it) => it.type))].join(', ') || 'nothing';
  return err(`the catalog has no endpoint ${what}; it has ${types_}`);
}

/** Cinder's own version, and the place for the project, where a catalog leaves them out. */
export function cinderUrl(url: string, project: string | null): Result<string, string> {
  const plain = url.replace(/\/+$/, '');
  const [, version] = /\/v(\d+)(?:\.\d+)?(?=\/|$)/.exec(plain) ?? [];
  if (version === undefined) return ok(`${plain}/v3${project === null ? '' : `/${project}`}`);
  if (version !== '3') return err(`the catalog's ${plain} is of version ${version}, not of v3`);
  return ok(plain);
}
