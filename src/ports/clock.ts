/** What ends a wait. Without a reason `abort` makes an error, stack and all, which nobody reads. */
export const OVER = null;

/** Time and chance, so that a simulated world can own both. */
export interface Clock {
  /** Wall-clock milliseconds: for people, and for how long we were away. It may jump. */
  now(): number;
  /** Milliseconds since some fixed moment of this process: for every deadline. It never jumps. */
  monotonic(): number;
  /** Resolves after `ms`, or earlier when `signal` is aborted; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A fresh UUID. */
  uuid(): string;
  /** A number in [0, 1): for jitter, never for a decision. */
  random(): number;
}
