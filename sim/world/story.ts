import type { Told } from './run.ts';

/** What a person need not read to see what happened. */
const DULL =
  / journal | images header | libvirt look | cinder (attachments|activeFile|snapshot \S+ →)/;

/** A recorded history as lines to read: seconds since it began, who, and what. */
export function story({ lines }: Told, { all = false } = {}): readonly string[] {
  const began = Number(lines[0]?.split(' ', 1)[0] ?? 0);
  return lines
    .filter((line) => all || !DULL.test(line))
    .map((line) => {
      const space = line.indexOf(' ');
      const seconds = ((Number(line.slice(0, space)) - began) / 1000).toFixed(3);
      return `${seconds.padStart(10)}  ${short(line.slice(space + 1))}`;
    });
}

/** What a history was made of, and which laws it broke. */
export function verdict({ seed, operations, digest, faults, broken, defects }: Told): string[] {
  const names = [...faults]
    .sort()
    .map(([kind, times]) => (times > 1 ? `${kind} (${times})` : kind));
  const hash = digest.toString(16).padStart(8, '0');
  const lines = [
    `seed ${seed}: ${operations} operations, digest ${hash}`,
    `faults: ${names.length > 0 ? names.join(', ') : 'none'}`,
  ];
  const wrong = broken.map(({ law, words, guard }) => {
    const want = guard === null ? '' : `, for want of a guard that is not there (${guard})`;
    return `law ${law} is broken${want}: ${short(words)}`;
  });
  for (const defect of defects) wrong.push(`the service contradicts itself: ${defect}`);
  return [...lines, ...new Set(wrong), ...(wrong.length === 0 ? ['all laws are kept'] : [])];
}

/** UUIDs by their first part: a story is read by people. */
const short = (text: string): string =>
  text.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');
