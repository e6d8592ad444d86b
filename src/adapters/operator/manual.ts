import type { DescribedOption } from '#ports/options.ts';
import type { CommandFacts, OptionFacts } from './command-facts.ts';

/** What the two pages have in their head and foot. */
export interface Edition {
  readonly version: string;
}

/** chainkeeper(1), in the macros of man(7). */
export function commandPage(commands: readonly CommandFacts[], { version }: Edition): string {
  return page([
    `.TH CHAINKEEPER 1 "" "chainkeeper ${version}" "User Commands"`,
    '.SH NAME',
    'chainkeeper \\- snapshots of Cinder volumes attached to running libvirt guests',
    '.SH SYNOPSIS',
    ...commands.flatMap(synopsis),
    '.SH DESCRIPTION',
    prose(
      'chainkeeper takes and deletes snapshots of Cinder volumes that are attached to libvirt ' +
        'guests of this host, and knows the format of every file it leaves behind. "serve" is ' +
        'the service; the other commands ask it over its socket, but for "header", "config" and ' +
        '"doctor", which need none. Data goes to standard output, all else to standard error.',
    ),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH EXIT STATUS',
    ...EXITS.flatMap(([code, says]) => ['.TP', `.B ${code}`, prose(says)]),
    '.SH FILES',
    ...FILES.flatMap(([file, says]) => ['.TP', `.I ${file}`, prose(says)]),
    '.SH SEE ALSO',
    '.BR chainkeeper.conf (5),\n.BR virsh (1),\n.BR qemu\\-img (1)',
  ]);
}

/** chainkeeper.conf(5). */
export function configurationPage(
  options: readonly DescribedOption[],
  { version }: Edition,
): string {
  const groups = [...new Set(options.map(({ group }) => group))];
  return page([
    `.TH CHAINKEEPER.CONF 5 "" "chainkeeper ${version}" "File Formats"`,
    '.SH NAME',
    'chainkeeper.conf \\- configuration of chainkeeper',
    '.SH SYNOPSIS',
    '.I /etc/chainkeeper/chainkeeper.conf',
    '.br',
    '.I /etc/chainkeeper/chainkeeper.conf.d/*.conf',
    '.SH DESCRIPTION',
    prose(
      'The format is that of oslo.config, as in every OpenStack service: groups in brackets, ' +
        "'name = value' in lines below; a line that is indented continues the one above; '#' " +
        "begins a comment at the start of a line only; '$name' and '$" +
        "{group.name}' stand for other options, '$$' for a dollar sign. What is set last " +
        'counts, and the environment variable OS_<GROUP>__<OPTION> more than any file. An ' +
        'option that is set to nothing is not set.',
    ),
    '.PP',
    prose(
      'chainkeeper config validate says what is wrong with it; what nobody knows is a warning.',
    ),
    ...groups.flatMap((group) => [
      `.SH [${literal(group)}]`,
      ...options.filter((it) => it.group === group).flatMap(optionLines),
    ]),
    '.SH SEE ALSO',
    '.BR chainkeeper (1)',
  ]);
}

const EXITS = [
  ['0', 'It is as asked.'],
  ['1', 'It failed.'],
  ['2', 'What was typed, or what is configured, cannot be used.'],
  ['3', 'A safety check refused it; nothing was changed.'],
  ['4', 'What became of it is not known.'],
  ['5', 'The service, libvirt or Cinder cannot be reached.'],
] as const;

const FILES = [
  ['/etc/chainkeeper/chainkeeper.conf', 'The configuration.'],
  ['/run/chainkeeper/chainkeeper.sock', 'Where the service listens for these commands.'],
  ['/var/lib/chainkeeper/journal.sqlite', 'What was promised, and what became of it.'],
] as const;

const page = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

function synopsis({ name, takes, options }: CommandFacts): readonly string[] {
  const words = [...takes.map((it) => it.name), ...(options.length > 0 ? ['[OPTIONS]'] : [])];
  const after = words.length > 0 ? [literal(words.join(' '))] : [];
  return ['.br', `.B chainkeeper ${literal(name)}`, ...after];
}

function commandLines({ name, says, takes, options }: CommandFacts): readonly string[] {
  return [
    `.SS ${literal(name)}`,
    prose(sentence(says)),
    ...takes
      .filter((it) => it.says)
      .flatMap((it) => [`.TP`, `.I ${literal(it.name)}`, prose(sentence(it.says))]),
    ...options.flatMap(flagLines),
  ];
}

function flagLines({ flags, says, choices, fallback }: OptionFacts): readonly string[] {
  const more = [
    ...(choices.length > 0 ? [`One of ${choices.join(', ')}.`] : []),
    ...(fallback !== null ? [`By default ${fallback}.`] : []),
  ];
  const text = [says === '' ? '' : sentence(says), ...more].join(' ').trim();
  return ['.TP', `.B ${literal(flags)}`, prose(text)];
}

function optionLines(it: DescribedOption): readonly string[] {
  const { name, says, type, choices, least, most, fallback } = it;
  const more = [
    ...(choices ? [`One of ${choices.join(', ')}.`] : []),
    ...(least === undefined ? [] : [`From ${least} to ${most}.`]),
    ...(fallback === null ? [] : [`By default ${fallback}.`]),
  ];
  return ['.TP', `.BR ${literal(name)} " (${type})"`, prose([says, ...more].join(' '))];
}

const sentence = (text: string): string => {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!]$/.test(whole) ? whole : `${whole}.`;
};

/** Text in which nothing is an escape of roff's, and a dash is one that can be typed. */
const literal = (text: string): string =>
  text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq');

function prose(text: string): string {
  const safe = literal(text);
  return /^[.']/.test(safe) ? `\\&${safe}` : safe;
}
