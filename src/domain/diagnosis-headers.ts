import { find, layersOf, means, type SeenLayer } from './chain.ts';
import { goneOf } from './delete-end.ts';
import type { Finding, VolumeSight } from './diagnosis.ts';
import { type FileName, type Format, QCOW2 } from './ids.ts';
import { judgeHeader } from './overlay.ts';
import type { HeaderFlaw, Qcow2Header } from './qcow2.ts';

/** Where the header pages say something else than the guest has open. */
export function headerFindings(sight: VolumeSight): readonly Finding[] {
  return layersOf(sight.guest.chain).flatMap((layer) => {
    const header = sight.headers[layer.file];
    if (header === undefined) return [];
    if (!header.ok) return [unreadable(sight, layer, header.error)];
    const name = wrongName(sight, layer, header.value) ?? wrongFormat(sight, layer, header.value);
    return [...(name === null ? [] : [name]), ...flaws(sight, layer, header.value)];
  });
}

function unreadable(sight: VolumeSight, { file }: SeenLayer, flaw: HeaderFlaw): Finding {
  return {
    code: 'header-unreadable',
    severity: 'error',
    saw: `the header of ${file} cannot be used: ${flaw.says}`,
    todo: `chainkeeper header ${pathOf(sight, file)}; do not stop the guest before it is mended`,
  };
}

function wrongName(sight: VolumeSight, layer: SeenLayer, header: Qcow2Header): Finding | null {
  const { guest } = sight;
  const { file, on } = layer;
  const says = header.backingFile;
  // The XML of a guest that is off may end anywhere, and then the headers decide.
  if (says === (on?.file ?? null) || (on === null && guest.process === null)) return null;
  const live = on?.file ?? 'nothing';
  const seen = `the header of ${file} names ${says ?? 'nothing'} below it`;
  const todo = mend(sight, layer);
  if (guest.process === null) {
    const saw = `${seen}, and the XML of the guest, which is off, has ${live}: the XML wins`;
    return { code: 'config-overrides', severity: 'error', saw, todo };
  }
  const older = find(guest.chain, says as FileName) !== null || mergedAway(sight, says);
  const saw = `${seen}, and the guest has ${live}: its next start would read another disk`;
  return { code: older ? 'header-behind' : 'header-lies', severity: 'error', saw, todo };
}

const mergedAway = ({ past }: VolumeSight, file: string | null): boolean =>
  past.some(({ saga }) => goneOf(saga) === file);

/** A format that is left out is one that the next start would find out by probing. */
function wrongFormat(sight: VolumeSight, layer: SeenLayer, header: Qcow2Header): Finding | null {
  const below = layer.on;
  if (below === null) return null;
  const format = formatOf(sight, below);
  if (format === null || means(header.backingFormat, format)) return null;
  return {
    code: 'header-format',
    severity: 'error',
    saw:
      `the header of ${layer.file} calls ${below.file} ${header.backingFormat ?? 'nothing'}, ` +
      `and it is ${format}: the next start would read it as something else`,
    todo: mend(sight, layer),
  };
}

function flaws(sight: VolumeSight, { file }: SeenLayer, header: Qcow2Header): readonly Finding[] {
  const { guest } = sight;
  const encrypted = guest.keys.length > 0;
  const expected = { encrypted, ...(guest.size !== null && { size: guest.size }) };
  const verdict = judgeHeader({ ok: true, value: header }, expected);
  const reasons = verdict.verdict === 'accepted' ? [] : verdict.reasons;
  return (
    reasons
      .filter(({ kind }) => kind !== 'backing-format')
      // QEMU may mark what it has open.
      .filter(({ kind }) => kind !== 'state' || header.corrupt || guest.process === null)
      .map(({ kind, says }) => ({
        code: 'unsafe-overlay',
        severity: GRAVE.includes(kind) || header.corrupt ? 'error' : 'warning',
        saw: `${file} is no plain overlay: ${says}`,
        todo:
          `chainkeeper header ${pathOf(sight, file)} --size ${guest.size}` +
          (encrypted ? ' --encrypted' : ''),
      }))
  );
}

const GRAVE: readonly HeaderFlaw['kind'][] = ['data-file', 'encryption'];

/**
 * Makes the header say what the live chain is. qemu-img cannot do it while QEMU has the file open
 * (its image lock), and the guest must not start in between.
 */
function mend(sight: VolumeSight, { file, on }: SeenLayer): string {
  const { guest, past } = sight;
  const busy = past.find(({ saga }) => saga.at !== 'end');
  if (busy !== undefined) return `wait for operation ${busy.id}: chainkeeper ops show ${busy.id}`;
  const format = on === null ? null : (formatOf(sight, on) ?? 'FORMAT');
  const to = on === null ? "-b ''" : `-F ${format} -b ${word(on.file)}`;
  const rebase = rebaseOf(sight, to, pathOf(sight, file));
  if (guest.process === null) return `before the guest is started: ${rebase}`;
  return `virsh shutdown ${guest.server}; once it is off, and before it starts again: ${rebase}`;
}

/** Without the passphrase qemu-img 7.2 changes nothing of an encrypted file, not even a name. */
function rebaseOf({ guest }: VolumeSight, to: string, path: string): string {
  if (guest.keys.length === 0) return `qemu-img rebase -u -f qcow2 ${to} ${path}`;
  const name = path.replaceAll(',', ',,');
  const opened = `driver=qcow2,file.filename=${name},encrypt.key-secret=key`;
  const secret = '--object secret,id=key,file=PASSPHRASE_FILE';
  return `qemu-img rebase -u ${to} ${secret} --image-opts ${opened}`;
}

const formatOf = ({ known }: VolumeSight, { file, format, on }: SeenLayer): Format | null =>
  format ?? (on === null ? (known.get(file) ?? null) : QCOW2);

/** The file as a shell takes it. */
export function pathOf({ guest }: VolumeSight, file: FileName): string {
  const folder = guest.source.kind === 'other' ? '.' : guest.source.directory;
  return word(`${folder}/${file}`);
}

const word = (text: string): string =>
  /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
