import { join } from 'node:path';
import type { Layer } from '#domain/chain.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { KeyedChain } from '#domain/saga.ts';
import { encryptionXml, escaped } from './snapshot-xml.ts';

/**
 * A domain's XML without the `<backingStore>` of one disk, or with another one `instead`, and
 * otherwise to the letter as libvirt printed it: what it says of a guest beyond disks is none of
 * our business, so it is cut and not written anew. In libvirt's own output an attribute never holds
 * a bare `<`, and disks do not nest. Answers the same text where there is nothing to cut.
 */
export function unchained(
  xml: string,
  target: string,
  instead?: KeyedChain,
): Result<string, string> {
  const mine = [...xml.matchAll(/<disk[ >].*?<\/disk>/gs)].filter(([disk]) =>
    new RegExp(`<target dev=['"]${target}['"]`).test(disk),
  );
  const [found] = mine;
  if (found === undefined || mine.length > 1) {
    return err(`it has ${mine.length} disks with target ${target}`);
  }
  const [disk] = found;
  const bare = disk.replace(/\s*<backingStore(?:\/>|[ >].*<\/backingStore>|[^>]*\/>)/s, '');
  const below = instead && storeXml(instead.chain.on, instead);
  const anew = below ? bare.replace(/(\s*)<target /, (at, space) => space + below + at) : bare;
  return ok(xml.slice(0, found.index) + anew + xml.slice(found.index + disk.length));
}

/** Each layer with its key, to the end, which is said too: libvirt looks at no header then. */
function storeXml(layer: Layer | null, { directory, key }: Omit<KeyedChain, 'chain'>): string {
  if (layer === null) return '<backingStore/>';
  const path = escaped(join(directory, layer.file));
  const source = `<source file='${path}'>${encryptionXml(key)}</source>`;
  const format = `<format type='${escaped(layer.format)}'/>`;
  const below = storeXml(layer.on, { directory, key });
  return `<backingStore type='file'>${format}${source}${below}</backingStore>`;
}
