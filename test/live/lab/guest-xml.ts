/** The XML of a lab guest, and the few things the lab reads back from libvirt's. */

export interface GuestDisk {
  readonly path: string;
  /** The server of a network disk; then `path` is what libvirt calls its name. */
  readonly server?: { readonly protocol: string; readonly host: string; readonly port: number };
  /** libvirt's name of the format of `path` itself. */
  readonly format: string;
  /** Nova puts Cinder's volume id here (cinder-nova.md section 6). */
  readonly serial?: string;
  /** vda, vdb, ... in the order given when left out. */
  readonly target?: string;
  readonly cache?: string;
  readonly discard?: string;
  /** An alias of one's own begins with `ua-`; recent Nova uses ua-<volume id>. */
  readonly alias?: string;
  /** A <backingStore> or whatever else belongs into <disk>. */
  readonly extraXml?: string;
}

export interface GuestShape {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly GuestDisk[];
  readonly extraDevices: string;
  /** For QEMU itself, which libvirt passes on. */
  readonly qemuArguments?: readonly string[];
}

/**
 * 32 MiB, emulated (TCG: no KVM needed), no OS, nothing that talks to the network. Without
 * these two elements libvirt adds a USB controller and a balloon that nobody needs.
 */
export function domainXml(guest: GuestShape): string {
  return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>${text(guest.name)}</name>
  <uuid>${guest.uuid}</uuid>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
${guest.disks.map((disk, index) => diskXml(disk, index)).join('\n')}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    ${guest.extraDevices}
  </devices>
${commandLine(guest.qemuArguments ?? [])}</domain>`;
}

function commandLine(args: readonly string[]): string {
  if (args.length === 0) return '';
  const all = args.map((one) => `    <qemu:arg value='${text(one)}'/>\n`).join('');
  return `  <qemu:commandline>\n${all}  </qemu:commandline>\n`;
}

function diskXml(disk: GuestDisk, index: number): string {
  const driver = [`type='${text(disk.format)}'`];
  if (disk.cache !== undefined) driver.push(`cache='${text(disk.cache)}'`);
  if (disk.discard !== undefined) driver.push(`discard='${text(disk.discard)}'`);
  return `    <disk type='${disk.server === undefined ? 'file' : 'network'}' device='disk'>
      <driver name='qemu' ${driver.join(' ')}/>
      ${sourceXml(disk)}
      ${disk.extraXml ?? ''}
      <target dev='${targetOf(disk, index)}' bus='virtio'/>
      ${disk.serial === undefined ? '' : `<serial>${text(disk.serial)}</serial>`}
      ${disk.alias === undefined ? '' : `<alias name='${text(disk.alias)}'/>`}
    </disk>`;
}

function sourceXml({ path, server }: GuestDisk): string {
  if (server === undefined) return `<source file='${text(path)}'/>`;
  return `<source protocol='${server.protocol}' name='${text(path)}'>
        <host name='${server.host}' port='${server.port}'/>
      </source>`;
}

export const targetOf = (disk: GuestDisk, index: number): string =>
  disk.target ?? `vd${String.fromCharCode(97 + index)}`;

/** What libvirt says of one disk. */
export interface SeenDisk {
  readonly target: string;
  readonly path: string | null;
  readonly format: string | null;
  /** QEMU's qdev name; only a running guest has one. */
  readonly alias: string | null;
}

/**
 * Patterns over libvirt's own, regular output. Not the product's parser on purpose: that one
 * is what the live tests test.
 */
export function disksOf(xml: string): SeenDisk[] {
  return [...xml.matchAll(/<disk [\s\S]*?<\/disk>/g)].map(([disk]) => {
    const own = disk.replace(/<backingStore[\s\S]*<\/backingStore>|<mirror[\s\S]*?<\/mirror>/g, '');
    const find = (pattern: RegExp) => pattern.exec(own)?.[1] ?? null;
    return {
      target: find(/<target dev='([^']+)'/) ?? '',
      path: find(/<source (?:file|dev)='([^']+)'/),
      format: find(/<driver [^>]*type='([^']+)'/),
      alias: find(/<alias name='([^']+)'/),
    };
  });
}

/** Drops what libvirt knows of the chains, so that the next start must believe the headers. */
export const withoutBackingStores = (xml: string): string =>
  xml.replace(/<disk [\s\S]*?<\/disk>/g, (disk) =>
    disk.replace(/<backingStore\b[\s\S]*<\/backingStore>|<backingStore\/>/g, ''),
  );

const text = (value: string): string =>
  value.replace(/[&<>'"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
