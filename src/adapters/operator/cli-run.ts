import type { Fault } from '#domain/failure.ts';
import type { Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { Check, DoctorOptions } from '#ports/doctor.ts';
import type { DescribedOption } from '#ports/options.ts';
import { ask, type Reply } from './client.ts';
import { escapeText } from './escape.ts';
import { maskSecrets } from './mask.ts';
import { type Fields, type Look, renderShow } from './output.ts';

/** What the command line needs of the process around it. */
export interface CliIo {
  readonly stdout: Writer;
  readonly stderr: Writer;
  /** Whether stdout is a terminal, and how wide it is. */
  readonly tty?: boolean;
  readonly width?: number;
  /** Resolves when whoever typed the command has had enough. */
  interrupted(): Promise<void>;
  /** Runs the service until it is stopped; resolves to the exit code. */
  serve(configFiles: readonly string[]): Promise<number>;
  /** Where the service listens, by these files or the default ones, or what is wrong with them. */
  findSocket(configFiles: readonly string[]): Result<string, string>;
  /** Everything that is worth checking on this host. */
  doctor(options: DoctorOptions): Promise<readonly Check[]>;
  readonly config: {
    /** A configuration with every option explained. */
    sample(): string;
    /** Every option that does something. */
    options(): readonly DescribedOption[];
    /** What is wrong with these files, or the default ones. */
    validate(configFiles: readonly string[]): readonly Check[];
  };
  /** The header page of the file at this path. */
  header(path: string): Promise<Result<HeaderView, Fault>>;
}

export interface Writer {
  write(text: string): unknown;
}

/**
 * openstackclient's 0 and 1, and what a script wants to tell apart. A configuration that cannot be
 * used is a slip like one on the command line; 4 is an unknown outcome.
 */
export const EXIT = { ok: 0, failed: 1, usage: 2, refused: 3, unknown: 4, away: 5 } as const;

/** One command on its way to an exit code. */
export class Run {
  readonly io: CliIo;
  code: number = EXIT.ok;

  constructor(io: CliIo) {
    this.io = io;
  }

  /** `printVirsh`: what a person would type for it, and nothing else. */
  async plan(
    { printVirsh = false, ...options }: ClientOptions & { readonly printVirsh?: boolean },
    request: object,
  ): Promise<void> {
    const reply = await this.#reply(options, '/v1/plans', request);
    if (reply === null) return;
    if (reply.kind === 'no' && reply.is === 'bad-request') {
      this.say(reply.why);
      this.code = EXIT.usage;
      return;
    }
    if (reply.kind === 'no' && reply.status === 400) {
      const fields = { ...REFUSED, refusal: reply.is, reason: reply.why };
      this.render(renderShow(fields, {}, look(options)));
      this.say(`refused: ${reply.why}`);
      if (this.code === EXIT.ok) this.code = EXIT.refused;
      return;
    }
    this.receive(reply, (body) => {
      const { virsh, ...fields } = body as Fields & { readonly virsh: readonly string[] };
      if (printVirsh && virsh.length > 0) {
        this.say('by hand, without a single check:');
        return this.print(virsh.map((line) => `${line}\n`).join(''));
      }
      if (printVirsh) {
        this.say('virsh has no command for it: a network disk, or the key of a new overlay.');
        this.code = EXIT.failed;
        return;
      }
      const { before, after, file_format } = fields;
      const plain = {
        before: chainWords(before),
        after: chainWords(after),
        file_format: formatWords(file_format),
      };
      this.render(renderShow(fields, plain, look(options)));
    });
  }

  /** Has the service do something. Of what was asked and not answered the outcome is unknown. */
  async order(
    options: ClientOptions,
    path: string,
    body: object,
    print: (body: unknown) => void,
  ): Promise<void> {
    const reply = await this.#reply(options, path, body);
    if (reply === null) return;
    this.receive(reply, print);
    if (reply.kind === 'no' && reply.status === 409) this.code = EXIT.refused;
    if (reply.kind === 'away' && reply.why === 'silent') this.code = EXIT.unknown;
  }

  async ask(options: ClientOptions, path: string, print: (body: unknown) => void): Promise<void> {
    const reply = await this.#reply(options, path);
    if (reply !== null) this.receive(reply, print);
  }

  /** Prints what was rendered; a column that does not exist is a slip of whoever typed it. */
  render(rendered: Result<string, string>): void {
    if (rendered.ok) {
      this.print(rendered.value);
      return;
    }
    this.say(rendered.error);
    this.code = EXIT.usage;
  }

  print(text: string): void {
    this.io.stdout.write(text);
  }

  say(sentence: string): void {
    this.io.stderr.write(`chainkeeper: ${escapeText(maskSecrets(sentence))}\n`);
  }

  /** Where the service listens, as far as that is known. */
  socketOf({ socket, configFile }: ClientOptions): string | null {
    return socket ?? this.#socket(configFile);
  }

  /** What the service answers, with nothing said. */
  peek(socket: string, path: string): Promise<Reply> {
    return ask(socket, path);
  }

  async #reply(options: ClientOptions, path: string, body?: object): Promise<Reply | null> {
    const socket = this.socketOf(options);
    return socket === null ? null : ask(socket, path, body, undefined, (it) => this.say(it));
  }

  #socket(configFiles: readonly string[]): string | null {
    const found = this.io.findSocket(configFiles);
    if (found.ok) return found.value;
    this.say(found.error);
    this.code = EXIT.usage;
    return null;
  }

  /** Says what is wrong with a reply, and has that be the exit code; or prints what it holds. */
  receive(reply: Reply, print: (body: unknown) => void): void {
    switch (reply.kind) {
      case 'ok':
        print(reply.body);
        return;
      case 'no':
        this.say(reply.why);
        this.code = reply.status === 503 ? EXIT.away : EXIT.failed;
        return;
      case 'away':
        this.say(reply.sentence);
        this.code = EXIT.away;
    }
  }
}

/** What every command that talks to the service takes. */
export interface ClientOptions {
  readonly format: Look['format'];
  readonly column: readonly string[];
  readonly socket?: string;
  readonly configFile: readonly string[];
}

const REFUSED = {
  verdict: 'refused',
  action: null,
  mend: null,
  before: null,
  after: null,
  file_format: null,
};

export const look = ({ format, column }: ClientOptions): Look => ({ format, columns: column });

function chainWords(layers: unknown): string | null {
  if (!Array.isArray(layers)) return null;
  return layers.map(({ file, format }) => `${file} (${format})`).join(' on\n');
}

export function formatWords(formats: unknown): string {
  const entries = Object.entries((formats ?? {}) as Record<string, string>);
  return entries.map(([file, format]) => `${file}: ${format}`).join('\n');
}
