import { err, ok, type Result } from '#domain/result.ts';

/**
 * A domain's XML without the `<backingStore>` of one disk, and otherwise to the letter as libvirt
 * printed it: what it says of a guest beyond disks is none of our business, so it is cut and not
 * written anew. In libvirt's own output an attribute never holds a bare `<`, and disks do not
 * nest. Answers the same text where there is nothing to cut.
 */
export function unchained(xml: string, target: string): Result<string, string> {
  const mine = [...xml.matchAll(/<disk[ >].*?<\/disk>/gs)].filter(([disk]) =>
    new RegExp(`<target dev=['"]${target}['"]`).test(disk),
  );
  const [found] = mine;
  if (found === undefined || mine.length > 1) {
    return err(`it has ${mine.length} disks with target ${target}`);
  }
  const [disk] = found;
  const bare = disk.replace(/\s*<backingStore(?:\/>|[ >].*<\/backingStore>|[^>]*\/>)/s, '');
  return ok(xml.slice(0, found.index) + bare + xml.slice(found.index + disk.length));
}
