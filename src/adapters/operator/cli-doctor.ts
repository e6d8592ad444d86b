import type { Command } from 'commander';
import type { Check } from '#ports/doctor.ts';
import { client, named } from './cli-options.ts';
import { type ClientOptions, EXIT, type Run } from './cli-run.ts';
import { maskSecrets } from './mask.ts';
import { renderList } from './output.ts';

const COLUMNS = ['check', 'status', 'saw', 'do'];

/** `chainkeeper doctor`: every check, with what mends it. Warnings alone are no failure. */
export function addDoctor(program: Command, run: Run): void {
  client(program.command('doctor'))
    .description('every check of this host and its volumes, with what mends it; changes nothing')
    .option(
      '--os-cloud <NAME>',
      "ask Cinder as this one of clouds.yaml; 'envvars': as OS_* say",
      named,
    )
    .action(async (options: ClientOptions & { osCloud?: string }) => {
      const { configFile, socket, osCloud } = options;
      const checks = await run.io.doctor({
        configFiles: configFile,
        ...(socket !== undefined && { socket }),
        ...(osCloud !== undefined && { cloud: osCloud }),
      });
      renderChecks(run, checks, options);
    });
}

/** A row for each check; an error is a failure, a warning is none. */
export function renderChecks(
  run: Run,
  checks: readonly Check[],
  { format, column }: Pick<ClientOptions, 'format' | 'column'>,
): void {
  const rows = checks.map(({ check, status, saw, todo }) => {
    return { check, status, saw: maskSecrets(saw), do: maskSecrets(todo) };
  });
  const list = { rows, known: COLUMNS, usual: COLUMNS };
  run.render(renderList(list, { format, columns: column }));
  const failed = checks.some(({ status }) => status === 'error');
  if (failed && run.code === EXIT.ok) run.code = EXIT.failed;
}
