/** What people who run this read. Fields are logged as they are, so never give it a secret. */
export interface Telemetry {
  log(level: 'debug' | 'info' | 'warning' | 'error', message: string, context?: LogContext): void;
}

export interface LogContext {
  readonly requestId?: string;
  readonly globalRequestId?: string | null;
  readonly operation?: string;
  /** Keystone's ids, or a name of http_basic's. */
  readonly user?: string | null;
  readonly project?: string | null;
}
