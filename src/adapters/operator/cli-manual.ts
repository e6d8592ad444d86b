import { Argument, type Command } from 'commander';
import type { Run } from './cli-run.ts';
import { commandFacts } from './command-facts.ts';
import { bashCompletion } from './completion.ts';
import { commandPage, configurationPage } from './manual.ts';
import { version } from './version.ts';

/** `completion` and `manual`: what is made of the definitions of the commands themselves. */
export function addManual(program: Command, run: Run): void {
  program
    .command('completion')
    .description('a completion for the shell: source <(chainkeeper completion bash)')
    .addArgument(new Argument('<SHELL>', 'which one').choices(['bash']))
    .action(() => run.print(bashCompletion(commandFacts(program))));
  program
    .command('manual')
    .description('a manual page: chainkeeper manual 1 | man -l -')
    .addArgument(
      new Argument('<SECTION>', '1 is about the commands, 5 about the configuration').choices([
        '1',
        '5',
      ]),
    )
    .action((section: string) => {
      const edition = { version: version() };
      const options = run.io.config.options();
      const page =
        section === '1'
          ? commandPage(commandFacts(program), edition)
          : configurationPage(options, edition);
      run.print(page);
    });
}
