import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { addConfig } from './cli-config.ts';
import { addDoctor } from './cli-doctor.ts';
import { addHeader } from './cli-header.ts';
import { addManual } from './cli-manual.ts';
import { addOrders } from './cli-ops.ts';
import { client, configFile, operationId, volumeOrDisk } from './cli-options.ts';
import { type ClientOptions, type CliIo, EXIT, formatWords, look, Run } from './cli-run.ts';
import { addWatch } from './cli-watch.ts';
import { escapeText } from './escape.ts';
import { type Fields, renderData, renderList, renderShow } from './output.ts';
import { version } from './version.ts';

export { type CliIo, EXIT, type Writer } from './cli-run.ts';

/** Runs one command, `argv` without the program's name. Data goes to stdout, the rest to stderr. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const run = new Run(io);
  try {
    const program = programFor(run);
    const [first, word] = argv;
    // commander would show the help of all, and not say why.
    if (first === 'help' && word && !program.commands.some((it) => it.name() === word)) {
      program.error(`error: unknown command '${word}'`);
    }
    await program.parseAsync(argv, { from: 'user' });
    return run.code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
}

/** Every command there is: its help, its manual page and its completion come from here. */
export function programFor(run: Run): Command {
  const program = new Command('chainkeeper')
    .description('Takes and deletes snapshots of Cinder volumes attached to running guests.')
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => run.io.stdout.write(text),
      writeErr: (text) => run.io.stderr.write(text),
      // commander's own sentences quote what was typed, however long that is.
      outputError: (text, write) => {
        const quoted = text
          .trimEnd()
          .replaceAll('\n', ' ')
          .replace(/'([^']{60})[^']{40,}'/g, "'$1...'");
        write(`chainkeeper: ${escapeText(quoted)}\n`);
      },
    });
  addServe(program, run);
  addChain(program, run);
  addPlan(program, run);
  addOps(program, run);
  addHeader(program, run);
  addDoctor(program, run);
  addSim(program, run);
  addConfig(program, run);
  addManual(program, run);
  return program;
}

function addServe(program: Command, run: Run): void {
  program
    .command('serve')
    .description('run the service')
    .addOption(configFile())
    .action(async ({ configFile }: ClientOptions) => {
      run.code = await run.io.serve(configFile);
    });
}

function addChain(program: Command, run: Run): void {
  const chain = program.command('chain').description('the chains of volumes');
  client(chain.command('show'))
    .description("a volume's chain by three witnesses: live XML, header pages, Cinder")
    .argument(
      '<VOLUME|DOMAIN:DISK>',
      'volume id, or guest name or UUID and disk target',
      volumeOrDisk,
    )
    .action((ref: string, options: ClientOptions) =>
      run.ask(options, `/v1/chains/${encodeURIComponent(ref)}`, (body) => {
        const { layers, findings, ...about } = body as ChainBody;
        const { format, column } = options;
        run.say(`volume ${about.volume}, server ${about.server} ${about.target}`);
        for (const it of findings) run.say(`${it.severity} ${it.code}: ${it.saw}. Do: ${it.do}`);
        if (column.length === 0 && (format === 'json' || format === 'yaml')) {
          return run.print(renderData(body, format));
        }
        run.render(renderList({ rows: layers, known: LAYER, usual: LAYER }, look(options)));
      }),
    );
}

function addPlan(program: Command, run: Run): void {
  const plan = program.command('plan').description('what a request would do; changes nothing');
  client(plan.command('create'))
    .description('what taking a snapshot would do, or why it would be refused')
    .requiredOption('--volume <ID>', 'the volume')
    .requiredOption('--snapshot <ID>', 'the snapshot')
    .requiredOption('--new-file <NAME>', 'the empty overlay that Cinder has prepared')
    .addOption(printVirsh())
    .action(({ volume, snapshot, newFile, ...options }: ClientOptions & CreateOptions) =>
      run.plan(options, { kind: 'create', volume, snapshot, new_file: newFile }),
    );
  client(plan.command('delete'))
    .description('what deleting a snapshot would do, or why it would be refused')
    .requiredOption('--volume <ID>', 'the volume')
    .requiredOption('--snapshot <ID>', 'the snapshot')
    .requiredOption('--delete-info <JSON>', "Cinder's delete_info", jsonObject)
    .addOption(printVirsh())
    .action(({ volume, snapshot, deleteInfo, ...options }: ClientOptions & DeleteOptions) =>
      run.plan(options, { kind: 'delete', volume, snapshot, delete_info: deleteInfo }),
    );
}

const printVirsh = (): Option =>
  new Option('--print-virsh', 'what a person would type to have it done by hand');

function addOps(program: Command, run: Run): void {
  const ops = program.command('ops').description('what was asked, and how far it is');
  client(ops.command('list'))
    .description('the operations, newest first')
    .addOption(
      new Option('--state <STATE>', 'only those that are so')
        .choices(['open', 'ended', 'all'])
        .default('all'),
    )
    .option('--limit <N>', 'at most so many', wholeNumber, '100')
    .action(({ state, limit, ...options }: ClientOptions & { state: string; limit: string }) =>
      run.ask(options, `/v1/operations?${new URLSearchParams({ state, limit })}`, (body) => {
        const rows = (body as { operations: readonly Fields[] }).operations;
        run.render(renderList({ rows, known: OPERATION, usual: USUAL }, look(options)));
      }),
    );
  client(ops.command('show'))
    .description('one operation, with the evidence it rests on and what Cinder was told')
    .argument('<ID>', 'its id', operationId)
    .action((id: string, options: ClientOptions) =>
      run.ask(options, `/v1/operations/${encodeURIComponent(id)}`, (body) => {
        const fields = body as Fields & Story;
        const plain = {
          evidence: fields.evidence.map((it) => `${it.at} ${it.kind}: ${it.detail}`).join('\n'),
          phases_ms: phaseWords(fields.phases_ms),
          notices: fields.notices.map(noticeWords).join('\n'),
          file_format: formatWords(fields.file_format),
        };
        run.render(renderShow(fields, plain, look(options)));
      }),
    );
  addOrders(ops, run);
  addWatch(ops, run, OPERATION);
}

/** `bin/chainkeeper.js` starts it, for the sim is not part of the service. */
function addSim(program: Command, run: Run): void {
  program
    .command('sim')
    .description('the service over a simulated cloud, or with --seed one history of a random world')
    .option('--port <PORT>', 'where Cinder calls it: 8797, or with 0 any that is free')
    .option('--page-port <PORT>', 'where a browser finds the page; left out, any that is free')
    .option('--seed <N>', 'which history')
    .option('--all', 'with --seed: also what was read and journalled')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      run.say("'sim' is started by bin/chainkeeper.js, or in a checkout as 'node sim/main.ts'.");
      run.code = EXIT.usage;
    });
}

interface Story {
  readonly evidence: readonly Fields[];
  readonly notices: readonly Fields[];
  readonly phases_ms: Fields;
}

const phaseWords = (phases: Fields): string =>
  Object.entries(phases)
    .map(([phase, ms]) => `${phase}: ${ms}`)
    .join('\n');

const noticeWords = ({ update, state, took_ms: ms }: Fields): string =>
  `${update}: ${state}${ms === null ? '' : ` after ${ms} ms`}`;

interface CreateOptions {
  readonly volume: string;
  readonly snapshot: string;
  readonly newFile: string;
}
interface DeleteOptions {
  readonly volume: string;
  readonly snapshot: string;
  readonly deleteInfo: object;
}
interface ChainBody {
  readonly volume: string;
  readonly server: string;
  readonly target: string;
  readonly layers: readonly Fields[];
  readonly findings: readonly Readonly<Record<'code' | 'severity' | 'saw' | 'do', string>>[];
}

const LAYER = ['layer', 'file', 'format', 'libvirt', 'header', 'cinder', 'note'];
const USUAL = ['id', 'kind', 'state', 'outcome', 'volume', 'snapshot', 'updated_at'];
const OPERATION = [
  ...['id', 'kind', 'state', 'outcome', 'reason', 'volume', 'snapshot', 'server', 'new_file'],
  ...['file_to_merge', 'merge_target_file', 'asked_at', 'updated_at', 'request_id'],
  'global_request_id',
];
function wholeNumber(text: string): string {
  if (/^[1-9]\d{0,3}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be a whole number from 1 to 9999.');
}

function jsonObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {}
  throw new InvalidArgumentError(
    "It must be a JSON object, as Cinder's: " +
      '{"volume_id": ..., "file_to_merge": ..., "merge_target_file": ...}.',
  );
}
