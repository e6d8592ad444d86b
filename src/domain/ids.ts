/** Branded names. Each is cast once, at the edge that reads it; inside, the types are true. */

/** Cinder's volume id; libvirt has it as the disk's `<serial>` (nova/virt/libvirt/driver.py). */
export type VolumeId = string & { readonly brand: 'VolumeId' };
/** Cinder's snapshot id. */
export type SnapshotId = string & { readonly brand: 'SnapshotId' };
/** Nova's server id, which is the libvirt domain's UUID. */
export type ServerId = string & { readonly brand: 'ServerId' };
/** One of our own operations: what a request became when it was journalled. */
export type OperationId = string & { readonly brand: 'OperationId' };
/**
 * libvirt's name of a disk format: raw, qcow2, vpc (Hyper-V's vhd), vhdx, vmdk, ...
 * A base may have any of them, an overlay is always qcow2.
 */
export type Format = string & { readonly brand: 'Format' };
/** A file of a volume's chain: a bare base name. A volume's files share one directory. */
export type FileName = string & { readonly brand: 'FileName' };

export const RAW = 'raw' as Format;
export const QCOW2 = 'qcow2' as Format;
/** QEMU's name for LUKS without a qcow2 around it; libvirt's is raw, with an <encryption>. */
export const LUKS = 'luks' as Format;

/**
 * A bare file name, or null when `text` could mean anything else: a path, a parent folder, a
 * name that a terminal, a shell or an XML document would read differently. Nova joins the name
 * to a directory unchecked (nova/virt/libvirt/driver.py:3767), so `../x` reaches any file.
 */
export function fileName(text: string): FileName | null {
  return FILE_NAME.test(text) ? (text as FileName) : null;
}
export const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,254}$/;
