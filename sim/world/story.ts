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

/** UUIDs by their first part: a story is read by people. */
const short = (text: string): string =>
  text.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');
