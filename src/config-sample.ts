import type { DescribedOption } from '#ports/options.ts';
import { HELP } from './config-help.ts';
import { OPTIONS } from './config-shape.ts';

/** Every option that does something, group by group. */
export const describedOptions = (): readonly DescribedOption[] =>
  Object.entries(HELP).flatMap(([group, options]) =>
    Object.entries(options).map(([name, help]) => {
      return { group, name, fallback: OPTIONS[group]?.[name] ?? null, ...help };
    }),
  );

/**
 * A whole configuration with nothing set, as oslo-config-generator would write it: each option as a
 * comment, with its default, below what it is for.
 */
export function configSample(): string {
  const groups = Object.keys(HELP).map((group) => {
    const options = describedOptions().filter((it) => it.group === group);
    const others = OTHERS[group];
    const also = others ? [`${commented(wrap(`${others} ${UNUSED}`))}\n`] : [];
    return [`[${group}]`, '', HEAD, ...also, ...options.map(entry)].join('\n');
  });
  return `${groups.join('\n\n')}\n`;
}

const HEAD = '#\n# From chainkeeper\n#\n';
const UNUSED = 'may stand here too; they are not used.';
const OTHERS: Readonly<Record<string, string>> = {
  cinder: "The other options of keystoneauth, and of nova.conf's [cinder],",
  keystone_authtoken: 'The other options of keystonemiddleware, as memcached_servers,',
};

function entry({ name, fallback, says, type, choices, least, most }: DescribedOption): string {
  const lines = [
    ...wrap(`${says} (${type} value)`),
    ...(choices ? ['Possible values:', ...choices.map((it) => it)] : []),
    ...(least === undefined ? [] : [`Minimum value: ${least}`]),
    ...(most === undefined ? [] : [`Maximum value: ${most}`]),
  ];
  return `${commented(lines)}\n#${name} = ${fallback ?? '<None>'}\n`;
}

const commented = (lines: readonly string[]): string => lines.map((line) => `# ${line}`).join('\n');

function wrap(text: string): readonly string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line.length + 1 + word.length > 76) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
