import fc from 'fast-check';
import type { Layer, Merge, SeenLayer } from '#domain/chain.ts';
import type { FileName, Format } from '#domain/ids.ts';

export const file = (name: string): FileName => name as FileName;
export const format = (name: string): Format => name as Format;

/** Files from the active one down, `name` or `name:format`; an overlay is qcow2, a base raw. */
export function chain(...names: readonly string[]): Layer {
  const layer = names.reduceRight<Layer | null>((on, text) => {
    const [name = '', said = on === null ? 'raw' : 'qcow2'] = text.split(':');
    return { file: file(name), format: format(said), provenance: 'reported', on };
  }, null);
  if (layer === null) throw new Error('a chain has at least one layer');
  return layer;
}

/** The same files as an old libvirt shows them: without formats. */
export const stripped = (layer: SeenLayer): SeenLayer => ({
  file: layer.file,
  format: null,
  on: layer.on && stripped(layer.on),
});

/** Chains of every length with every kind of base. */
export const FORMATS = ['raw', 'qcow2', 'vpc', 'vhdx', 'vmdk'] as const;
export const chains: fc.Arbitrary<Layer> = fc
  .record({
    names: fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9.-]{0,7}$/), {
      minLength: 1,
      maxLength: 8,
    }),
    base: fc.constantFrom(...FORMATS),
  })
  .map(({ names, base }) => chain(...names.slice(0, -1), `${names.at(-1)}:${base}`));

export const STRANGER = file('STRANGER');

/** Every merge that can be named over these files, sound or not. */
export function everyMerge(names: readonly FileName[]): readonly Merge[] {
  const all = [...names, STRANGER];
  return [
    { kind: 'pull', onto: null },
    ...all.map((onto) => ({ kind: 'pull', onto }) as const),
    ...all.flatMap((top) => all.map((into) => ({ kind: 'commit', top, into }) as const)),
  ];
}
