import type { Command } from 'commander';
import { renderChecks } from './cli-doctor.ts';
import { configFile, formatted } from './cli-options.ts';
import type { ClientOptions, Run } from './cli-run.ts';

/** `chainkeeper config`: what needs no service, and is of use before there is one. */
export function addConfig(program: Command, run: Run): void {
  const config = program.command('config').description('the configuration, without the service');
  config
    .command('sample')
    .description('a configuration in which every option is explained and none is set')
    .action(() => run.print(run.io.config.sample()));
  formatted(config.command('validate'))
    .description('whether the service could use it; exit 1 when not')
    .addOption(configFile())
    .action((options: Pick<ClientOptions, 'format' | 'column' | 'configFile'>) => {
      renderChecks(run, run.io.config.validate(options.configFile), options);
    });
}
