import type { SeenLayer } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import { SimNode } from './node.ts';
import { type No, problem } from './refusals.ts';
import { forged, type Header, LUKS, type SimFile, type SimShare } from './share.ts';

/** libvirt refuses longer chains. */
const DEEPEST = 200;
/** What a QEMU before 9.0 writes where libvirt gave it no format driver: raw, by other names. */
const PROTOCOLS: readonly string[] = ['file', 'host_device', 'nbd'];

/** One layer as libvirt and QEMU find it when a guest starts. */
interface Found {
  readonly file: SimFile;
  readonly driver: Format;
  /** What the header above calls it. */
  readonly name: string | null;
}

/** What the guest's XML says beyond the topmost file. */
export interface Given {
  /** The layers below it, as `<backingStore>`: they override the headers. */
  readonly below?: SeenLayer | null;
  /**
   * The files whose `<source>` has an `<encryption>`: no other is opened with a key. `all`: for
   * whoever has the passphrase himself, as Cinder has.
   */
  readonly keys?: Keys;
}

type Keys = ReadonlySet<FileName> | 'all';

/**
 * Opens a chain as a starting guest does: the top by the format that its XML gives, and what the
 * XML names below it; then each backing file by what the header above says of it, and by its own
 * bytes where that header is silent (measured on libvirt 9.0).
 */
export function openChain(
  share: SimShare,
  top: SimFile,
  driver: Format,
  { below = null, keys = NO_KEYS }: Given = {},
): Result<SimNode, No> {
  const found: Found[] = [];
  let given = below;
  let next: Result<Found | null, No> = ok({ file: top, driver, name: null });
  while (next.ok && next.value !== null) {
    const layer: Found = next.value;
    const { file } = layer;
    if (found.length >= DEEPEST) return problem(84, 'backing chains more than 200 layers deep');
    if (found.some((one) => one.file === file)) {
      return problem(1, `backing store for ${file.name} is self-referential`);
    }
    const sealed = withoutKey(layer, keys, found.length > 0 && given === null);
    if (sealed !== null) return sealed;
    found.push(layer);
    next = given === null ? behind(share, layer) : configured(share, layer, given);
    given = given?.on ?? null;
  }
  if (!next.ok) return next;
  let node: SimNode | null = null;
  for (const { file, driver, name } of found.reverse()) {
    node = new SimNode(share, file, driver, node, file.luks && opens(keys, file.name));
    node.relativeName = relative(name);
  }
  return node === null ? problem(1, 'no file') : ok(node);
}

/**
 * No encrypted qcow2 file is opened without its key. One that libvirt finds behind a header, raw or
 * not, gets none: 9.0 stumbles over it and refuses the start (measured), so that an encrypted chain
 * comes up from a configuration that names each layer with its key, or not at all.
 */
function withoutKey({ file, driver }: Found, keys: Keys, detected: boolean) {
  if (!file.luks || opens(keys, file.name)) return null;
  if (detected) return problem(1, 'Unexpected enum value 0 for virStorageEncryptionEngine');
  if (driver !== QCOW2) return null;
  return problem(1, "Parameter 'encrypt.key-secret' is required for cipher");
}

/** A name as libvirt keeps it to build relative names from. */
export const relative = (name: string | null | undefined): string | null =>
  name == null || name.startsWith('/') ? null : name;

/** Of the header above only the name is believed, when names are to be kept relative. */
function configured(share: SimShare, above: Found, given: SeenLayer): Result<Found, No> {
  const file = share.file(given.file);
  if (file === null)
    return problem(38, `Could not open '${given.file}': No such file or directory`);
  const header = headerFor(above.file, above.driver);
  if (!header.ok) return header;
  return ok({ file, driver: given.format ?? QCOW2, name: header.value?.backing ?? null });
}

function behind(share: SimShare, { file, driver }: Found): Result<Found | null, No> {
  const header = headerFor(file, driver);
  if (!header.ok) return header;
  if (header.value?.backing == null) return ok(null);
  const { backing: name, format } = header.value;
  const under = share.behind(name);
  if (under === null) return problem(38, `Could not open '${name}': No such file or directory`);
  if (format !== null) {
    if (format === LUKS) return under.luks ? ok({ file: under, driver: RAW, name }) : NOT_LUKS;
    const driver = PROTOCOLS.includes(format) ? RAW : (format as Format);
    return ok({ file: under, driver, name });
  }
  // Silent: libvirt probes, and refuses only when what it found has a backing file of its own.
  const probed = share.probe(under);
  const own = probed === QCOW2 ? (under.header ?? forged(under)) : null;
  if (own?.backing == null) {
    return ok({ file: under, driver: probed === LUKS ? RAW : probed, name });
  }
  const image = `backing image '${under.name}' of image '${file.name}'`;
  return problem(55, `format of ${image} was not specified in the image metadata`);
}

/** The header that a driver goes by: none for raw, whatever the bytes are. */
function headerFor(file: SimFile, driver: Format): Result<Header | null, No> {
  if (driver === RAW) return ok(null);
  const header = file.header ?? forged(file);
  if (driver === QCOW2)
    return header === null ? problem(1, 'Image is not in qcow2 format') : ok(header);
  return file.format === driver ? ok(null) : problem(1, `Image is not in ${driver} format`);
}

const NOT_LUKS = problem(1, 'Volume is not in LUKS format');

const NO_KEYS: Keys = new Set();

const opens = (keys: Keys, file: FileName): boolean => keys === 'all' || keys.has(file);
