import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { err, ok, type Result } from '#domain/result.ts';

/** One end of a network disk: `<host name= port=>` or `<host transport='unix' socket=>`. */
export interface XmlHost {
  readonly transport: string;
  readonly name: string | null;
  readonly port: number | null;
  readonly socket: string | null;
}

/** Where a layer's bytes are. Only `file` and `block` have a path one may open. */
export type XmlSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'block'; readonly path: string }
  | {
      readonly kind: 'network';
      readonly protocol: string;
      readonly name: string;
      readonly hosts: readonly XmlHost[];
    }
  | { readonly kind: 'other'; readonly type: string };

/** `secret` is what libvirt calls the key, never the key; null where its UUID is not given. */
export interface XmlEncryption {
  readonly format: string;
  /** An older libvirt knows none but QEMU, and does not say so. */
  readonly engine: string | null;
  readonly secret: string | null;
}

/**
 * `index` is the `N` of `vda[N]`: per guest, never renumbered while it runs (dumps 04, 13, 16).
 * `format` is null where libvirt does not say: an empty drive, a libvirt before 1.2.4.
 */
export interface XmlLayer {
  readonly source: XmlSource;
  readonly format: string | null;
  readonly index: number | null;
  readonly encryption: XmlEncryption | null;
}

/**
 * `layers` has the active one first and is empty for an empty drive. `terminated` means libvirt
 * vouches that there is nothing below the last one; a network bottom and most inactive XML never
 * say so (dumps 15, 18, 21, 22). `mirror.job` is empty while an asynchronous pivot is under way
 * (dump 28); a mirror without a `job` is a copy, all there was before libvirt 1.2.7.
 */
export interface XmlDisk {
  readonly target: string;
  readonly serial: string | null;
  readonly device: string;
  readonly readonly: boolean;
  readonly shareable: boolean;
  readonly layers: readonly XmlLayer[];
  readonly terminated: boolean;
  readonly mirror: XmlMirror | null;
}

/** What a disk is being mirrored into (dumps 10 to 12). */
export interface XmlMirror {
  readonly job: string;
  readonly ready: string | null;
  readonly source: XmlSource;
}

/** `id` is there only while the guest runs, and not in its inactive XML. */
export interface XmlDomain {
  readonly name: string;
  readonly uuid: string;
  readonly id: number | null;
  readonly disks: readonly XmlDisk[];
  readonly agent: 'connected' | 'disconnected' | 'none';
}

/** Above any domain libvirt can send us: its own limit for one string is 4 MiB. */
const LARGEST = 4 * 1024 * 1024;

/** libvirt refuses chains of more than 200 layers (error 84). */
const DEEPEST = 256;

/** Reads a `<domain>` as libvirt's XMLDesc prints it. Anything else is an error, never a throw. */
export function parseDomain(xml: string): Result<XmlDomain, string> {
  try {
    return ok(domainOf(tree(xml)));
  } catch (error) {
    // The library throws on what it refuses, our own readers do the same: one way out for both.
    // The validator quotes what it dislikes whole, megabytes of it.
    const problem = error instanceof Error ? error.message : String(error);
    return err(`not a domain we can read: ${problem.slice(0, 300)}`);
  }
}

type Element = Readonly<Record<string, unknown>>;

/** Elements that may occur more than once, so that one of them is a list of one. */
const REPEATED: ReadonlySet<string> = new Set(['disk', 'channel', 'host', 'secret']);

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  ignoreDeclaration: true,
  // The defaults make 1000 of the name 1e3 and 0 of the uuid 0000.
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  htmlEntities: true,
  // The default of 100 would refuse a chain of a hundred layers; libvirt allows twice that.
  maxNestedTags: DEEPEST + 16,
  isArray: (name) => REPEATED.has(name),
  // Else the path to each element is put together for nobody: of 200 layers half of the time.
  jPath: false,
});

function tree(xml: string): Element {
  if (xml.length > LARGEST) refuse(`larger than ${LARGEST} characters`);
  // libvirt never prints one, and an entity it defines is the only kind that can blow up.
  if (/<!DOCTYPE/i.test(xml)) refuse('it has a DOCTYPE');
  // XMLParser takes unclosed tags; XMLValidator finds those but not text around the root.
  const valid = XMLValidator.validate(xml);
  if (valid !== true) refuse(`${valid.err.msg} (line ${valid.err.line})`);
  if (!/^<domain[\s>]/.test(afterProlog(xml))) refuse('the root is not <domain>');
  if (!/<\/domain\s*>\s*$/.test(xml.slice(-1024))) refuse('something follows </domain>');
  return child(parser.parse(xml), 'domain') ?? refuse('the root is not <domain>');
}

function domainOf(domain: Element): XmlDomain {
  const devices = child(domain, 'devices') ?? {};
  return {
    name: text(domain, 'name') || refuse('no <name>'),
    uuid: text(domain, 'uuid') || refuse('no <uuid>'),
    id: number(domain, 'id'),
    disks: children(devices, 'disk').map(diskOf),
    agent: agentOf(devices),
  };
}

function diskOf(disk: Element): XmlDisk {
  const target = attribute(child(disk, 'target'), 'dev') || refuse('a disk without a target');
  const mirror = child(disk, 'mirror');
  const active: XmlLayer = {
    source: sourceOf(attribute(disk, 'type') ?? 'file', child(disk, 'source')),
    format: attribute(child(disk, 'driver'), 'type'),
    index: number(child(disk, 'source'), 'index'),
    // As a sibling of <source> is how it was written before libvirt 3.9, and how Nova writes it.
    encryption: encryptionOf(disk) ?? encryptionOf(child(disk, 'source')),
  };
  const below = layersBelow(disk);
  return {
    target,
    serial: text(disk, 'serial'),
    device: attribute(disk, 'device') ?? 'disk',
    readonly: child(disk, 'readonly') !== null,
    shareable: child(disk, 'shareable') !== null,
    layers: isEmpty(disk) ? [] : [active, ...below.layers],
    terminated: below.terminated,
    mirror: mirror && {
      job: attribute(mirror, 'job') ?? 'copy',
      ready: attribute(mirror, 'ready'),
      source: sourceOf(attribute(mirror, 'type') ?? 'file', child(mirror, 'source')),
    },
  };
}

/** Walks the nested `<backingStore>`; an empty one is libvirt's "there is nothing below". */
function layersBelow(disk: Element): { layers: XmlLayer[]; terminated: boolean } {
  const layers: XmlLayer[] = [];
  let store = child(disk, 'backingStore');
  while (store !== null && child(store, 'source') !== null) {
    if (layers.length >= DEEPEST) refuse(`a chain of more than ${DEEPEST} layers`);
    const source = child(store, 'source');
    layers.push({
      source: sourceOf(attribute(store, 'type') ?? refuse('a backingStore without type'), source),
      format: attribute(child(store, 'format'), 'type'),
      index: number(store, 'index'),
      encryption: encryptionOf(source),
    });
    store = child(store, 'backingStore');
  }
  if (store !== null && attribute(store, 'type') !== null) refuse('a backingStore without source');
  return { layers, terminated: store !== null };
}

/** A drive with nothing in it has no source, or one that names no file (dump 16). */
function isEmpty(disk: Element): boolean {
  const source = child(disk, 'source');
  if (source === null) return true;
  const removable = ['cdrom', 'floppy'].includes(attribute(disk, 'device') ?? 'disk');
  return removable && attribute(disk, 'type') === 'file' && !attribute(source, 'file');
}

/** A kind we do not know, or one that lacks its name, is `other`: whoever needs a path refuses. */
function sourceOf(type: string, source: Element | null): XmlSource {
  const path = attribute(source, type === 'file' ? 'file' : 'dev');
  if (type === 'file' && path) return { kind: 'file', path };
  if (type === 'block' && path) return { kind: 'block', path };
  const protocol = attribute(source, 'protocol');
  if (type !== 'network' || source === null || !protocol) return { kind: 'other', type };
  // nbd and the like may have no export name: the empty one.
  const name = attribute(source, 'name') ?? '';
  return { kind: 'network', protocol, name, hosts: children(source, 'host').map(hostOf) };
}

const hostOf = (host: Element): XmlHost => ({
  transport: attribute(host, 'transport') ?? 'tcp',
  name: attribute(host, 'name'),
  port: number(host, 'port'),
  socket: attribute(host, 'socket'),
});

/** The channel's state is printed for a running guest only: an inactive one is disconnected. */
function agentOf(devices: Element): XmlDomain['agent'] {
  const target = children(devices, 'channel')
    .map((channel) => child(channel, 'target'))
    .find((each) => attribute(each, 'name') === 'org.qemu.guest_agent.0');
  if (target === undefined) return 'none';
  return attribute(target, 'state') === 'connected' ? 'connected' : 'disconnected';
}

/** A secret by its usage, or of another type than a passphrase, counts as none. */
function encryptionOf(parent: Element | null): XmlEncryption | null {
  const found = parent && child(parent, 'encryption');
  if (found === null) return null;
  const [secret, ...others] = children(found, 'secret');
  const only = others.length === 0 && attribute(secret ?? null, 'type') === 'passphrase';
  return {
    format: attribute(found, 'format') ?? 'default',
    engine: attribute(found, 'engine'),
    secret: only ? attribute(secret ?? null, 'uuid') : null,
  };
}

function child(parent: Element, name: string): Element | null {
  const found = parent[name];
  if (found === undefined) return null;
  if (Array.isArray(found)) refuse(`more than one <${name}>`);
  return element(found);
}

function children(parent: Element, name: string): readonly Element[] {
  const found = parent[name];
  return Array.isArray(found) ? found.map(element) : [];
}

/** An element without attributes and children arrives as its bare text. */
const element = (found: unknown): Element =>
  typeof found === 'object' && found !== null ? (found as Element) : { '#text': found };

function text(parent: Element, name: string): string | null {
  const found = child(parent, name);
  if (found === null) return null;
  const inside = found['#text'] ?? '';
  return typeof inside === 'string' ? inside : refuse(`<${name}> is not text`);
}

function attribute(of: Element | null, name: string): string | null {
  const found = of?.[`@${name}`];
  return typeof found === 'string' ? found : null;
}

function number(of: Element | null, name: string): number | null {
  const found = attribute(of, name);
  if (found === null) return null;
  return /^\d{1,10}$/.test(found) ? Number(found) : refuse(`${name}='${found}' is no number`);
}

/** What follows an XML declaration and comments; walked, since a pattern for it is exponential. */
function afterProlog(xml: string): string {
  for (let rest = xml.trimStart(); ; rest = rest.trimStart()) {
    const close = rest.startsWith('<!--') ? '-->' : rest.startsWith('<?') ? '?>' : null;
    if (close === null) return rest;
    const end = rest.indexOf(close, 2);
    if (end < 0) return '';
    rest = rest.slice(end + close.length);
  }
}

function refuse(problem: string): never {
  throw new Error(problem);
}
