import { type Command, InvalidArgumentError, Option } from 'commander';
import { FORMATS } from './output.ts';

/** What every command that talks to the service takes. */
export function client(command: Command): Command {
  return formatted(command)
    .option('--socket <PATH>', 'where the service listens; default: as configured', path)
    .addOption(configFile());
}

/** How it is printed: cliff's two options. */
export function formatted(command: Command): Command {
  return command
    .addOption(
      new Option('-f, --format <FORMAT>', 'how it is printed').choices(FORMATS).default('table'),
    )
    .addOption(
      new Option('-c, --column <COLUMN>', 'only this one; repeatable')
        .argParser<string[]>(collect)
        .default([], 'all'),
    );
}

export const configFile = (): Option =>
  new Option('--config-file <FILE>', 'the configuration; repeatable')
    .argParser<string[]>((value, before) => collect(path(value), before))
    .default([], 'those in /etc/chainkeeper');

function path(value: string): string {
  if (value !== '') return value;
  throw new InvalidArgumentError('It must be a path.');
}

/** The name of something, which cannot be empty: an empty one would name everything. */
export function named(value: string): string {
  if (value !== '') return value;
  throw new InvalidArgumentError('It must not be empty.');
}

/** An operation's id; what is none is no name of anything, and need not be asked for. */
export function operationId(value: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(value)) return value;
  throw new InvalidArgumentError("It must be an id, as 'chainkeeper ops list' has them.");
}

/** A volume, or a disk of a guest, whose names libvirt keeps as those of files. */
export function volumeOrDisk(value: string): string {
  if (Buffer.byteLength(named(value)) <= 300) return value;
  throw new InvalidArgumentError('It must be a volume id, or DOMAIN:DISK as virsh has them.');
}

export const collect = (value: string, before: string[]): string[] => [...before, value];
