import fc from 'fast-check';
import type {
  XmlDisk,
  XmlDomain,
  XmlEncryption,
  XmlHost,
  XmlLayer,
  XmlMirror,
  XmlSource,
} from '#adapters/libvirt/domain-xml.ts';

/** Prints a domain in libvirt's way; written apart from the parser, so that both can be wrong. */
export function buildXml(domain: XmlDomain): string {
  const id = domain.id === null ? '' : ` id='${domain.id}'`;
  const agent =
    `<channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.` +
    `guest_agent.0'${domain.agent === 'connected' ? ` state='connected'` : ''}/></channel>`;
  return `<domain type='kvm'${id}>
  <name>${quoted(domain.name)}</name>
  <uuid>${domain.uuid}</uuid>
  <devices>
    ${domain.disks.map(diskXml).join('\n    ')}
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    ${domain.agent === 'none' ? '' : agent}
  </devices>
</domain>
`;
}

function diskXml(disk: XmlDisk): string {
  const [active, ...below] = disk.layers;
  const end = disk.terminated ? '<backingStore/>' : '';
  const serial = disk.serial === null ? '' : `<serial>${quoted(disk.serial)}</serial>`;
  const mirror = disk.mirror && mirrorXml(disk.mirror);
  return `<disk type='${active ? typeOf(active.source) : 'file'}' device='${disk.device}'>
      <driver name='qemu'${active ? attribute('type', active.format) : ''} cache='none'/>
      ${active ? sourceXml(active, ` ${index(active)}`) : ''}
      ${below.reduceRight((lower, layer) => storeXml(layer, lower), end)}
      ${mirror ?? ''}<target dev='${quoted(disk.target)}' bus='virtio'/>
      ${disk.readonly ? '<readonly/>' : ''}${disk.shareable ? '<shareable/>' : ''}${serial}
    </disk>`;
}

const storeXml = (layer: XmlLayer, lower: string): string =>
  `<backingStore type='${typeOf(layer.source)}' ${index(layer)}>` +
  `${layer.format === null ? '' : `<format type='${layer.format}'/>`}
        ${sourceXml(layer, '')}${lower}</backingStore>`;

function mirrorXml({ job, ready, source }: XmlMirror): string {
  const said = ready === null ? '' : ` ready='${ready}'`;
  const where = sourceXml({ source, encryption: null }, " index='99'");
  const inside = `<format type='raw'/>${where}<backingStore/>`;
  return `<mirror type='${typeOf(source)}' job='${job}'${said}>${inside}</mirror>`;
}

const typeOf = (source: XmlSource): string => (source.kind === 'other' ? source.type : source.kind);

const index = (layer: XmlLayer): string => (layer.index === null ? '' : `index='${layer.index}'`);

const attribute = (name: string, value: string | null): string =>
  value === null ? '' : ` ${name}='${quoted(value)}'`;

const encryptionXml = ({ format, engine, secret }: XmlEncryption): string =>
  `<encryption format='${format}'${attribute('engine', engine)}>` +
  `<secret type='passphrase'${attribute('uuid', secret)}/></encryption>`;

function sourceXml(
  { source, encryption }: Pick<XmlLayer, 'source' | 'encryption'>,
  more: string,
): string {
  const inside = encryption === null ? '' : encryptionXml(encryption);
  switch (source.kind) {
    case 'file':
      return `<source${attribute('file', source.path)}${more}>${inside}</source>`;
    case 'block':
      return `<source${attribute('dev', source.path)}${more}>${inside}</source>`;
    case 'network':
      return (
        `<source${attribute('protocol', source.protocol)}${attribute('name', source.name)}` +
        `${more}>${source.hosts.map(hostXml).join('')}${inside}</source>`
      );
    case 'other':
      return `<source pool='p' volume='v'${more}>${inside}</source>`;
  }
}

const hostXml = (host: XmlHost): string =>
  `<host transport='${host.transport}'${attribute('name', host.name)}` +
  `${attribute('port', host.port === null ? null : String(host.port))}` +
  `${attribute('socket', host.socket)}/>`;

const quoted = (value: string): string =>
  value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;')
    .replaceAll('"', '&quot;');

/** What may be in a name or a path: no control characters, XML has none. */
const printable = fc
  .string({ unit: 'grapheme-composite', minLength: 1, maxLength: 20 })
  .filter((it) => !/[\p{Cc}\p{Cs}\u2028\u2029\ufffe\uffff]/u.test(it));
const tricky = fc.constantFrom('1e3', '0000', '0x10', 'true', '&amp;', 'a\'b"c<d>', ' a ', '&#39;');
const text = fc.oneof(printable, tricky);

const host: fc.Arbitrary<XmlHost> = fc.record({
  transport: fc.constantFrom('tcp', 'unix', 'rdma'),
  name: fc.option(text),
  port: fc.option(fc.nat(65_535)),
  socket: fc.option(text),
});

const source: fc.Arbitrary<XmlSource> = fc.oneof(
  fc.record({ kind: fc.constant('file'), path: text }),
  fc.record({ kind: fc.constant('block'), path: text }),
  fc.record({
    kind: fc.constant('network'),
    protocol: fc.constantFrom('nbd', 'gluster', 'rbd'),
    name: text,
    hosts: fc.array(host, { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant('other'), type: fc.constantFrom('volume', 'nvme', 'vhostuser') }),
);

const layer: fc.Arbitrary<XmlLayer> = fc.record({
  source,
  format: fc.option(fc.constantFrom('raw', 'qcow2', 'vmdk')),
  index: fc.option(fc.nat(10_000)),
  encryption: fc.option(
    fc.record({
      format: fc.constantFrom('luks', 'qcow'),
      engine: fc.option(fc.constantFrom('qemu', 'librbd')),
      secret: fc.option(fc.uuid()),
    }),
  ),
});

const disk: fc.Arbitrary<XmlDisk> = fc.record({
  target: text,
  serial: fc.option(text),
  device: fc.constantFrom('disk', 'lun'),
  readonly: fc.boolean(),
  shareable: fc.boolean(),
  layers: fc.array(layer, { minLength: 1, maxLength: 12 }),
  terminated: fc.boolean(),
  mirror: fc.option(
    fc.record({
      job: fc.constantFrom('', 'copy', 'active-commit'),
      ready: fc.option(fc.constantFrom('yes', 'abort', 'pivot')),
      source,
    }),
  ),
});

export const xmlDomain: fc.Arbitrary<XmlDomain> = fc.record({
  name: text,
  uuid: fc.oneof(fc.uuid(), fc.constant('0000'), fc.constant('1e3')),
  id: fc.option(fc.nat()),
  disks: fc.array(disk, { maxLength: 5 }),
  agent: fc.constantFrom('connected', 'disconnected', 'none'),
});
