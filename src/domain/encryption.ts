import { layersOf, type SeenLayer } from './chain.ts';
import type { Refusal } from './failure.ts';
import type { FileName } from './ids.ts';
import { err, ok, type Result } from './result.ts';

/**
 * A layer that is encrypted, as the live XML has it. The passphrase itself is libvirt's: here is
 * only what libvirt calls it.
 */
export interface LayerKey {
  readonly file: FileName;
  /** libvirt's name: `luks`; `qcow` is the AES of old qcow2 files. */
  readonly format: string;
  /** Who decrypts: `qemu`, `librbd`; null of an older libvirt, which knew only QEMU. */
  readonly engine: string | null;
  /** The UUID of libvirt's secret, or null where the XML names none so. */
  readonly secret: string | null;
}

/** What opens each file of an encrypted volume: Cinder has one passphrase for all of them. */
export interface VolumeKey {
  /** The UUID of libvirt's secret; never its value. */
  readonly secret: string;
  readonly engine: string | null;
}

/** What an encrypted disk looks like: `keys` are those of the layers that are encrypted. */
export interface EncryptedDisk {
  readonly target: string;
  readonly chain: SeenLayer;
  readonly keys: readonly LayerKey[];
}

/**
 * The key of a disk's volume; null when no layer is encrypted. One that is encrypted in part, with
 * several keys, or in another way than LUKS by QEMU is refused: a plain layer over an encrypted
 * one has the guest's data for everybody to read, and which key is the volume's nobody says.
 */
export function keyOf({ target, chain, keys }: EncryptedDisk): Result<VolumeKey | null, Refusal> {
  const [active] = keys;
  if (active === undefined) return ok(null);
  const no = (why: string) => err<Refusal>({ kind: 'encrypted', target, why });
  const odd = keys.find(({ format, engine }) => format !== 'luks' || (engine ?? QEMU) !== QEMU);
  if (odd !== undefined) {
    return no(`${odd.file} has '${odd.format}' by ${odd.engine ?? QEMU}, not LUKS by QEMU`);
  }
  const plain = layersOf(chain).find(({ file }) => !keys.some((key) => key.file === file));
  if (plain !== undefined) return no(`${active.file} is encrypted and ${plain.file} is not`);
  const { secret, engine } = active;
  const other = keys.find((key) => key.secret !== secret);
  if (other !== undefined) return no(`${active.file} and ${other.file} have different secrets`);
  if (secret === null) return no(`the XML names no secret of ${active.file} by its UUID`);
  return ok({ secret, engine });
}

const QEMU = 'qemu';
