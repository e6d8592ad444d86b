import type { Command } from 'commander';
import { client } from './cli-options.ts';
import { type ClientOptions, EXIT, look, type Run } from './cli-run.ts';
import { renderList } from './output.ts';

const COLUMNS = ['check', 'status', 'saw', 'do'];

/** `chainkeeper doctor`: every check, with what mends it. Warnings alone are no failure. */
export function addDoctor(program: Command, run: Run): void {
  client(program.command('doctor'))
    .description('every check of this host and its volumes, with what mends it; changes nothing')
    .action(async (options: ClientOptions) => {
      const { configFile, socket } = options;
      const checks = await run.io.doctor({
        configFiles: configFile,
        ...(socket !== undefined && { socket }),
      });
      const rows = checks.map(({ check, status, saw, todo }) => ({ check, status, saw, do: todo }));
      run.render(renderList({ rows, known: COLUMNS, usual: COLUMNS }, look(options)));
      const failed = checks.some(({ status }) => status === 'error');
      if (failed && run.code === EXIT.ok) run.code = EXIT.failed;
    });
}
