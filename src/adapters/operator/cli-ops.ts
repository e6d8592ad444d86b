import { type Command, Option } from 'commander';
import { client, operationId } from './cli-options.ts';
import { type ClientOptions, look, type Run } from './cli-run.ts';
import { type Fields, renderShow } from './output.ts';

/** `ops abort` and `ops settle`: what a person decides about an operation. */
export function addOrders(ops: Command, run: Run): void {
  client(ops.command('abort'))
    .description('end an operation that has not begun: it fails, and Cinder hears so')
    .argument('<ID>', 'its id', operationId)
    .action((id: string, options: ClientOptions) => order(run, options, `${pathOf(id)}/abort`, {}));
  client(ops.command('settle'))
    .description('say what became of an operation whose outcome is unknown')
    .argument('<ID>', 'its id', operationId)
    .addOption(
      new Option('--as <VERDICT>', 'refused when the live chain contradicts it')
        .choices(['done', 'failed'])
        .makeOptionMandatory(),
    )
    .action((id: string, { as, ...options }: ClientOptions & { readonly as: string }) =>
      order(run, options, `${pathOf(id)}/settle`, { as }),
    );
}

const order = (run: Run, options: ClientOptions, path: string, body: object): Promise<void> =>
  run.order(options, path, body, (answer) => {
    const fields = answer as Fields;
    run.render(renderShow(fields, {}, look(options)));
    if (fields.state !== 'end') run.say(`it goes on, and is ${fields.state}: see 'ops show'.`);
  });

const pathOf = (id: string): string => `/v1/operations/${encodeURIComponent(id)}`;
