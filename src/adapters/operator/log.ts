import { closeSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import type { LogContext, Telemetry } from '#ports/telemetry.ts';
import { escapeJson, escapeText } from './escape.ts';
import { maskSecrets } from './mask.ts';

export interface LogSettings {
  readonly debug: boolean;
  readonly useJson: boolean;
  /** Null is stderr. */
  readonly file: string | null;
  readonly now?: () => number;
  readonly pid?: number;
}

type Level = Parameters<Telemetry['log']>[0];

/**
 * Lines as oslo.log's defaults write them, because kolla's fluentd reads them by a regex
 * (oslo_log/_options.py logging_context_format_string), or its JSONFormatter's keys. One record
 * is one line, whatever the text. Written synchronously: a line must survive the crash after it.
 */
export class OsloLog implements Telemetry {
  readonly #settings: LogSettings;
  #file: number | null;

  constructor(settings: LogSettings) {
    this.#settings = settings;
    this.#file = settings.file === null ? null : openSync(settings.file, 'a', 0o640);
  }

  log(level: Level, message: string, context?: LogContext): void {
    const { debug, useJson, now = Date.now, pid = process.pid } = this.#settings;
    if (level === 'debug' && !debug) return;
    const record = { level, message: maskSecrets(message), at: now(), pid, context };
    this.#write(`${useJson ? jsonLine(record) : textLine(record)}\n`);
  }

  /** Opens the file anew: for SIGHUP, after the old one was renamed. */
  reopen(): void {
    if (this.#file === null || this.#settings.file === null) return;
    const old = this.#file;
    this.#file = openSync(this.#settings.file, 'a', 0o640);
    closeSync(old);
  }

  /** A full disk or a closed pipe must not stop the service: there is nobody left to tell. */
  #write(line: string): void {
    for (const fd of this.#file === null ? [2] : [this.#file, 2]) {
      try {
        writeSync(fd, line);
        return;
      } catch {}
    }
  }
}

interface LogRecord {
  readonly level: Level;
  readonly message: string;
  readonly at: number;
  readonly pid: number;
  readonly context: LogContext | undefined;
}

const NAME = 'chainkeeper';
const NUMBERS: Readonly<Record<Level, number>> = { debug: 10, info: 20, warning: 30, error: 40 };

/** `asctime.msecs pid LEVEL name [global local user project domain scope udomain pdomain] text` */
function textLine({ level, message, at, pid, context }: LogRecord): string {
  const { requestId, globalRequestId, operation, user, project } = context ?? {};
  const who = `${word(user)} ${word(project)} - - - -`;
  const ids = requestId ? `${globalRequestId ?? 'None'} ${requestId} ${who}` : '-';
  const about = operation ? `[operation: ${operation}] ` : '';
  const stamp = `${asctime(at)}.${String(at % 1000).padStart(3, '0')}`;
  const text = escapeText(`[${ids}] ${about}${message}`);
  return `${stamp} ${pid} ${level.toUpperCase()} ${NAME} ${text}`;
}

/** A place in the line holds one word, or kolla's regex would take the next for it. */
const word = (text: string | null | undefined): string =>
  text && /^[\w.@-]+$/.test(text) ? text : '-';

/** oslo_log/formatters.py JSONFormatter, without what only Python has. */
function jsonLine({ level, message, at, pid, context }: LogRecord): string {
  const { requestId, globalRequestId, operation, user, project } = context ?? {};
  const asked = { request_id: requestId, global_request_id: globalRequestId ?? null };
  const who = { ...(user && { user_id: user }), ...(project && { project_id: project }) };
  const json = JSON.stringify({
    message,
    asctime: `${asctime(at)},${String(at % 1000).padStart(3, '0')}`,
    name: NAME,
    msg: message,
    args: [],
    levelname: level.toUpperCase(),
    levelno: NUMBERS[level],
    created: at / 1000,
    msecs: at % 1000,
    process: pid,
    process_name: NAME,
    hostname: hostname(),
    traceback: null,
    context: requestId ? { ...asked, ...who } : {},
    extra: operation ? { operation } : {},
  });
  return escapeJson(json);
}

/** Python's logging writes local time. */
function asctime(at: number): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return `${day} ${time}`;
}
