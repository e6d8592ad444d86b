import { type Format, QCOW2, RAW } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import { SimNode } from './node.ts';
import { type No, no } from './refusal.ts';
import { forged, type Header, type SimFile, type SimShare } from './share.ts';

/** libvirt refuses longer chains. */
const DEEPEST = 200;

/** One layer as libvirt and QEMU find it when a guest starts. */
interface Found {
  readonly file: SimFile;
  readonly driver: Format;
  /** What the header above calls it. */
  readonly name: string | null;
}

/**
 * Opens a chain as a starting guest does: the top by the format that its XML gives, each backing
 * file by what the header above says of it, and by its own bytes where that header is silent
 * (measured on libvirt 9.0).
 */
export function openChain(share: SimShare, top: SimFile, driver: Format): Result<SimNode, No> {
  const found: Found[] = [];
  let next: Result<Found | null, No> = ok({ file: top, driver, name: null });
  while (next.ok && next.value !== null) {
    const { file } = next.value;
    if (found.length >= DEEPEST) return no(84, 'backing chains more than 200 layers deep');
    if (found.some((one) => one.file === file)) {
      return no(1, `backing store for ${file.name} is self-referential`);
    }
    found.push(next.value);
    next = below(share, next.value);
  }
  if (!next.ok) return next;
  let node: SimNode | null = null;
  for (const layer of found.reverse()) {
    node = new SimNode(share, layer.file, layer.driver, node);
    node.relativeName = relative(layer.name);
  }
  return node === null ? no(1, 'no file') : ok(node);
}

/** A name as libvirt keeps it to build relative names from. */
export const relative = (name: string | null | undefined): string | null =>
  name == null || name.startsWith('/') ? null : name;

function below(share: SimShare, { file, driver }: Found): Result<Found | null, No> {
  const header = headerFor(file, driver);
  if (!header.ok) return header;
  if (header.value?.backing == null) return ok(null);
  const { backing: name, format } = header.value;
  const under = share.behind(name);
  if (under === null) return no(38, `Could not open '${name}': No such file or directory`);
  if (format !== null) return ok({ file: under, driver: format as Format, name });
  // Silent: libvirt probes, and refuses only when what it found has a backing file of its own.
  const probed = share.probe(under);
  const own = probed === QCOW2 ? (under.header ?? forged(under)) : null;
  if (own?.backing == null) return ok({ file: under, driver: probed, name });
  const image = `backing image '${under.name}' of image '${file.name}'`;
  return no(55, `format of ${image} was not specified in the image metadata`);
}

/** The header that a driver goes by: none for raw, whatever the bytes are. */
function headerFor(file: SimFile, driver: Format): Result<Header | null, No> {
  if (driver === RAW) return ok(null);
  const header = file.header ?? forged(file);
  if (driver === QCOW2) return header === null ? no(1, 'Image is not in qcow2 format') : ok(header);
  return file.format === driver ? ok(null) : no(1, `Image is not in ${driver} format`);
}
