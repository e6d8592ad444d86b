import type { Argument, Command, Option } from 'commander';

/** A command as its users see it: what help, manual page and completion are made of. */
export interface CommandFacts {
  /** Without the program's name: `ops list`. */
  readonly name: string;
  readonly says: string;
  readonly takes: readonly ArgumentFacts[];
  readonly options: readonly OptionFacts[];
}

export interface ArgumentFacts {
  readonly name: string;
  readonly says: string;
  readonly choices: readonly string[];
}

export interface OptionFacts {
  /** `-f, --format <FORMAT>`. */
  readonly flags: string;
  readonly short: string | null;
  readonly long: string;
  readonly says: string;
  readonly choices: readonly string[];
  /** Whether a value follows, and whether it is the name of a file. */
  readonly value: 'none' | 'text' | 'file';
  readonly fallback: string | null;
}

/** Every command that does something, in the order of their help. */
export function commandFacts(program: Command, path: readonly string[] = []): CommandFacts[] {
  return program.commands.flatMap((command) => {
    const words = [...path, command.name()];
    if (command.commands.length > 0) return commandFacts(command, words);
    return [
      {
        name: words.join(' '),
        says: command.description(),
        takes: command.registeredArguments.map(argument),
        options: command.options.map(option),
      },
    ];
  });
}

const argument = (it: Argument): ArgumentFacts => ({
  name: it.required ? `<${it.name()}>` : `[${it.name()}]`,
  says: it.description,
  choices: it.argChoices ?? [],
});

function option(it: Option): OptionFacts {
  const takes = it.required || it.optional;
  const fallback: unknown = it.defaultValueDescription ?? it.defaultValue;
  return {
    flags: it.flags,
    short: it.short ?? null,
    long: it.long ?? '',
    says: it.description,
    choices: it.argChoices ?? [],
    value: !takes ? 'none' : /<(FILE|PATH)>/.test(it.flags) ? 'file' : 'text',
    fallback: typeof fallback === 'string' ? fallback : null,
  };
}
