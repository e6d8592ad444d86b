import { beginsLike, find, type Layer, means, type SeenLayer } from './chain.ts';
import type { Refusal } from './failure.ts';
import { type FileName, type Format, fileName, LUKS, QCOW2, RAW } from './ids.ts';
import { judgeHeader } from './overlay.ts';
import { err, ok, type Result } from './result.ts';
import type { DiskView, HeaderView, Sight } from './sight.ts';

/** libvirt follows no chain further than this either. */
export const DEEPEST = 200;

/**
 * The chain of a disk that no QEMU has open. Its guest's XML need not name more than the active
 * file (libvirt's own snapshot of a stopped guest makes it forget the rest, measured), so it is
 * what the headers say, from the active file down: bare names, each with its format. What else is
 * known of these files, in the XML or in our record, must not contradict a header; where a header
 * says less there is no answer, because the only other way to learn a format is to probe.
 */
export function coldChain(
  { chain }: DiskView,
  { headers, known }: Pick<Sight, 'headers' | 'known'>,
): Result<Layer, Refusal> {
  const { file, format } = chain;
  const top = format ?? known.get(file) ?? QCOW2;
  const provenance = format === null ? 'assumed' : 'reported';
  const found: Omit<Layer, 'on'>[] = [{ file, format: top, provenance }];
  for (let at: Above | null = { file, format: top }; at !== null; ) {
    const below: Result<Above | null, Refusal> = under(at, headers);
    if (!below.ok) return below;
    at = below.value;
    if (at === null) break;
    const { file } = at;
    if (found.length >= DEEPEST || found.some((layer) => layer.file === file)) {
      return err(broken(file, 'is in a chain that does not end'));
    }
    const expected = known.get(file) ?? at.format;
    if (at.format !== expected) {
      return err({ kind: 'format-differs', file, live: at.format, expected });
    }
    const named = find(chain, file)?.format === at.format;
    found.push({ ...at, provenance: named ? 'reported' : 'assumed' });
  }
  const whole = found.reduceRight<Layer | null>((on, layer) => ({ ...layer, on }), null) as Layer;
  if (beginsLike(chain, whole)) return ok(whole);
  const said = layersIn(chain).join(' on ');
  return err(
    broken(file, `heads the chain ${layersIn(whole).join(' on ')}, and the XML has ${said}`),
  );
}

/** A layer, and what its header says of the one below. */
type Above = Pick<Layer, 'file' | 'format'>;

function under({ file, format }: Above, headers: Sight['headers']): Result<Above | null, Refusal> {
  if (format !== QCOW2) return ok(null);
  const header = headers[file];
  const unusable = (says: string) => err(broken(file, `cannot be used: ${says}`));
  if (header === undefined) return unusable('its header was not read');
  if (!header.ok) return unusable(header.error.says);
  const verdict = judgeHeader(header, {});
  if (verdict.verdict !== 'accepted') {
    return unusable(verdict.reasons.map(({ says }) => says).join('; '));
  }
  const { backingFile, backingFormat } = header.value;
  if (backingFile === null || backingFormat === null) return ok(null);
  const name = fileName(backingFile);
  if (backingFormat === LUKS)
    return err(broken(file, `stands on ${backingFile}, which is encrypted`));
  if (name === null) return err(broken(file, `names ${backingFile}, which is no bare file name`));
  return ok({ file: name, format: means(backingFormat, RAW) ? RAW : backingFormat });
}

/**
 * The next file down whose header may be read: one that this header, and whatever else is known of
 * it, calls qcow2. The lowest layer may be raw, and its bytes are the guest's.
 */
export function nextToRead(
  header: HeaderView,
  chain: SeenLayer,
  known: ReadonlyMap<FileName, Format>,
): FileName | null {
  if (!header.ok || header.value.backingFormat !== QCOW2) return null;
  const name = fileName(header.value.backingFile ?? '');
  if (name === null) return null;
  const said = [find(chain, name)?.format ?? QCOW2, known.get(name) ?? QCOW2];
  return said.every((format) => format === QCOW2) ? name : null;
}

const layersIn = (chain: SeenLayer | null): readonly string[] =>
  chain === null ? [] : [`${chain.file} (${chain.format ?? 'no format'})`, ...layersIn(chain.on)];

const broken = (file: FileName, problem: string): Refusal => ({
  kind: 'broken-chain',
  file,
  problem,
});
