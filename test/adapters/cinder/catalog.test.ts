import { describe, expect, test } from 'vitest';
import { cinderUrl, urlIn, type Wanted } from '#adapters/cinder/catalog.ts';
import type { CatalogService } from '#ports/identity.ts';

const at = (face: string, url: string, region = 'one') => ({ interface: face, url, region });
const service = (type: string, ...endpoints: ReturnType<typeof at>[]): CatalogService => {
  return { type, name: `name-of-${type}`, endpoints };
};
const WANTED: Wanted = {
  serviceType: 'volumev3',
  serviceName: null,
  interfaces: ['public'],
  region: null,
};
const chosen = (catalog: readonly CatalogService[], wanted: Partial<Wanted> = {}) => {
  const url = urlIn(catalog, { ...WANTED, ...wanted });
  return url.ok ? url.value : null;
};

describe('an endpoint is chosen as keystoneauth chooses it', () => {
  const v2 = service('volumev2', at('public', 'v2'));
  const v3 = service('volumev3', at('internal', 'v3-in'), at('public', 'v3-out', 'two'));
  const block = service('block-storage', at('public', 'block'), at('admin', 'block-admin'));

  test.each<[string, readonly CatalogService[], Partial<Wanted>, string | null]>([
    ['the type that was asked for', [block, v2, v3], {}, 'v3-out'],
    ['the other name of it', [v2, block], {}, 'block'],
    ['the other way round', [v2, v3], { serviceType: 'block-storage' }, 'v3-out'],
    ['its other name, where it has no such endpoint', [v3, block], { region: 'one' }, 'block'],
    ['never an older API', [v2], {}, null],
    ['unless it is asked for by its name', [v2], { serviceType: 'volumev2' }, 'v2'],
    ['the first interface that there is', [v3], { interfaces: ['internal', 'public'] }, 'v3-in'],
    ['in the order given', [v3], { interfaces: ['admin', 'public', 'internal'] }, 'v3-out'],
    ['no other interface', [v3], { interfaces: ['admin'] }, null],
    ['of the region', [v3], { region: 'two' }, 'v3-out'],
    ['and of no other', [v3], { region: 'three' }, null],
    ['of the name', [v3, block], { serviceName: 'name-of-block-storage' }, 'block'],
    [
      'of any name, where the catalog has none',
      [{ ...v3, name: null }],
      { serviceName: 'x' },
      'v3-out',
    ],
    ['not one without a URL', [service('volumev3', at('public', ''))], {}, null],
    ['of an empty catalog none', [], {}, null],
  ])('%s', (_, catalog, wanted, url) => {
    expect(chosen(catalog, wanted)).toBe(url);
  });
});

test.each([
  ['http://c:8776/v3/p/', 'http://c:8776/v3/p'],
  ['http://c:8776/v3', 'http://c:8776/v3'],
  ['https://c/volume/v3', 'https://c/volume/v3'],
  ['https://c/volume/', 'https://c/volume/v3/p'],
  ['https://v2.example/volume', 'https://v2.example/volume/v3/p'],
  ['http://c:8776/v2/p', "the catalog's http://c:8776/v2/p is of version 2, not of v3"],
])('%s of a catalog is %s', (url, meant) => {
  const made = cinderUrl(url, 'p');
  expect(made.ok ? made.value : made.error).toBe(meant);
});
