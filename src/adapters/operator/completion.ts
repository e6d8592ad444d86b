import type { CommandFacts, OptionFacts } from './command-facts.ts';

/**
 * A bash completion (bash(1), "Programmable Completion") of these commands: their words, their
 * options, what an option may be, and file names where one is wanted. It asks nobody.
 */
export function bashCompletion(commands: readonly CommandFacts[]): string {
  const paths = new Map<string, Set<string>>([['', new Set(['help', '--version'])]]);
  for (const { name, takes, options } of commands) {
    const words = name.split(' ');
    for (const [at, word] of words.entries()) {
      const before = words.slice(0, at).join(' ');
      paths.set(before, (paths.get(before) ?? new Set()).add(word));
    }
    const flags = options.flatMap(({ short, long }) => (short ? [short, long] : [long]));
    paths.set(name, new Set([...takes.flatMap(({ choices }) => choices), ...flags]));
  }
  const values = commands.flatMap(({ name, options }) =>
    options.flatMap((option) => valueCase(name, option)),
  );
  const wordCases = [...paths].map(
    ([path, words]) => `    '${path}') words='${[...words, '--help'].join(' ')}' ;;`,
  );
  const files = commands.filter(({ takes }) => takes.some(({ name }) => /FILE/.test(name)));
  return `# bash completion for chainkeeper
_chainkeeper() {
  local cur prev path='' word words='' at
  cur=\${COMP_WORDS[COMP_CWORD]}
  prev=\${COMP_WORDS[COMP_CWORD - 1]}
  # bash makes three words of --format=json.
  if [[ $cur == = ]]; then cur=''
  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case "\${path:+$path }$word" in
      ${[...paths.keys()]
        .filter((path) => path !== '')
        .map(quoted)
        .join(' | ')})
        path="\${path:+$path }$word" ;;
    esac
  done
  case "$path $prev" in
${values.join('\n')}
  esac
  case "$path" in
${wordCases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  case "$path" in
    ${files.map(({ name }) => quoted(name)).join(' | ')})
      mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
  esac
}
complete -o filenames -F _chainkeeper chainkeeper
`;
}

function valueCase(name: string, { short, long, value, choices }: OptionFacts): readonly string[] {
  if (value === 'none') return [];
  const flags = [short, long].flatMap((flag) => (flag ? [quoted(`${name} ${flag}`)] : []));
  const words =
    value === 'file' ? '-f' : choices.length > 0 ? `-W '${choices.join(' ')}'` : "-W ''";
  return [
    `    ${flags.join(' | ')})`,
    `      mapfile -t COMPREPLY < <(compgen ${words} -- "$cur")`,
    '      return ;;',
  ];
}

const quoted = (text: string): string => `'${text}'`;
