/** One thing that was looked at, for people; the words of `todo` are a command where one helps. */
export interface Check {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'error';
  readonly saw: string;
  /** Empty when all is well. */
  readonly todo: string;
}

/** What `chainkeeper doctor` was told. */
export interface DoctorOptions {
  readonly configFiles: readonly string[];
  readonly socket?: string;
  /** Whom to be for Cinder, by clouds.yaml, instead of whom the service is. */
  readonly cloud?: string;
}
