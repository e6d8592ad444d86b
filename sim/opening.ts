import { type Format, QCOW2, RAW } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { SimNode } from './node.ts';
import { forged, type Header, type SimFile, type SimShare } from './share.ts';

/** libvirt refuses longer chains. */
const DEEPEST = 200;

/** One layer as libvirt and QEMU find it when a guest starts. */
interface Found {
  readonly file: SimFile;
  readonly driver: Format;
}

/**
 * Opens a chain as a starting guest does: the top by the format that its XML gives, each backing
 * file by what the header above says of it, and by its own bytes where that header is silent
 * (measured on libvirt 9.0).
 */
export function openChain(share: SimShare, top: SimFile, driver: Format): Result<SimNode, string> {
  const found: Found[] = [];
  let next: Result<Found | null, string> = ok({ file: top, driver });
  while (next.ok && next.value !== null) {
    if (found.length >= DEEPEST) return err('backing chains more than 200 layers deep');
    found.push(next.value);
    next = below(share, next.value);
  }
  if (!next.ok) return next;
  let node: SimNode | null = null;
  for (const layer of found.reverse()) node = new SimNode(share, layer.file, layer.driver, node);
  return node === null ? err('no file') : ok(node);
}

function below(share: SimShare, { file, driver }: Found): Result<Found | null, string> {
  const header = headerFor(file, driver);
  if (!header.ok) return header;
  if (header.value?.backing == null) return ok(null);
  const { backing, format } = header.value;
  const under = share.behind(backing);
  if (under === null) return err(`Could not open '${backing}': No such file or directory`);
  if (format !== null) return ok({ file: under, driver: format as Format });
  // Silent: libvirt probes, and refuses only when what it found has a backing file of its own.
  const probed = share.probe(under);
  const own = probed === QCOW2 ? (under.header ?? forged(under)) : null;
  if (own?.backing == null) return ok({ file: under, driver: probed });
  const image = `backing image '${under.name}' of image '${file.name}'`;
  return err(`format of ${image} was not specified in the image metadata`);
}

/** The header that a driver goes by: none for raw, whatever the bytes are. */
function headerFor(file: SimFile, driver: Format): Result<Header | null, string> {
  if (driver === RAW) return ok(null);
  const header = file.header ?? forged(file);
  if (driver === QCOW2) return header === null ? err('Image is not in qcow2 format') : ok(header);
  return file.format === driver ? ok(null) : err(`Image is not in ${driver} format`);
}
