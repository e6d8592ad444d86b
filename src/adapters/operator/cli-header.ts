import { type Command, InvalidArgumentError, Option } from 'commander';
import { explainFault } from '#domain/failure.ts';
import { judgeHeader, type OverlayVerdict } from '#domain/overlay.ts';
import type { HeaderView } from '#domain/sight.ts';
import { formatted, named } from './cli-options.ts';
import { EXIT, type Run } from './cli-run.ts';
import { type Fields, type Look, renderShow } from './output.ts';

/**
 * `chainkeeper header FILE`: what a header page says, and what would be made of it as an overlay.
 * It needs no service and opens the one file; what is left out of the options is not compared.
 */
export function addHeader(program: Command, run: Run): void {
  // commander keeps the last of the two, and what was compared is not what was asked for.
  const given = new Set<string>();
  const command = formatted(program.command('header'))
    .description('what a qcow2 header page says, and the verdict on it as an overlay')
    .argument('<FILE>', 'the file; no other one is opened', named)
    .addOption(new Option('--backing <NAME>', 'the backing name it must have').argParser(named))
    .addOption(new Option('--no-backing', 'it must name no backing file'))
    .option('--backing-format <FORMAT>', 'the format that the backing file has')
    .option('--size <BYTES>', 'the virtual size it must have', bytes)
    .option('--encrypted', 'the volume is: so it must have LUKS inside')
    .action((file: string, options: HeaderOptions) => {
      if (given.size < 2) return show(file, options, run);
      return command.error("error: '--backing' and '--no-backing' exclude each other");
    });
  for (const it of ['backing', 'no-backing']) command.on(`option:${it}`, () => given.add(it));
}

async function show(file: string, options: HeaderOptions, run: Run): Promise<void> {
  const { backing, backingFormat, size, encrypted = false, format, column } = options;
  const read = await run.io.header(file);
  if (!read.ok) {
    run.say(explainFault(read.error));
    run.code = read.error.kind === 'unreachable' ? EXIT.away : EXIT.failed;
    return;
  }
  const verdict = judgeHeader(read.value, {
    ...(backing !== true && { backing: backing === false ? null : backing }),
    ...(backingFormat !== undefined && { format: backingFormat }),
    ...(size !== undefined && { size }),
    encrypted,
  });
  const fields = { file, ...factsOf(read.value), ...said(verdict) };
  const plain = { reasons: fields.reasons.map(({ kind, says }) => `${kind}: ${says}`).join('\n') };
  run.render(renderShow(fields, plain, { format, columns: column }));
  if (verdict.verdict !== 'accepted' && run.code === EXIT.ok) run.code = EXIT.refused;
}

function factsOf(header: HeaderView): Fields {
  const it = header.ok ? header.value : null;
  return {
    version: it?.version ?? null,
    virtual_size: it?.size ?? null,
    cluster_size: it === null ? null : 2 ** it.clusterBits,
    backing_file: it?.backingFile ?? null,
    backing_format: it?.backingFormat ?? null,
    encrypted: it === null ? null : it.encryption !== 'none',
    data_file: it?.dataFile ?? null,
    dirty: it?.dirty ?? null,
    corrupt: it?.corrupt ?? null,
    snapshots: it?.snapshots ?? null,
    bitmaps: it?.bitmaps ?? null,
    header_length: it?.headerLength ?? null,
  };
}

const said = (it: OverlayVerdict) => ({
  verdict: it.verdict,
  reasons: it.verdict === 'accepted' ? [] : it.reasons,
});

function bytes(text: string): number {
  const size = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(size)) return size;
  throw new InvalidArgumentError('It must be a whole number of bytes.');
}

interface HeaderOptions {
  /** As commander has it: true when nothing was said, false for --no-backing. */
  readonly backing: string | boolean;
  readonly backingFormat?: string;
  readonly size?: number;
  readonly encrypted?: boolean;
  readonly format: Look['format'];
  readonly column: readonly string[];
}
