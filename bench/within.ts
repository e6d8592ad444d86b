import { setTimeout as sleep } from 'node:timers/promises';

const TOO_LONG_MS = 120_000;

/** What does not come in a sensible time is an error. */
export async function within<T>(promise: Promise<T>, ms = TOO_LONG_MS): Promise<T> {
  const limit = new AbortController();
  const late = sleep(ms, null, { signal: limit.signal }).then(() => {
    throw new Error(`no last word within ${ms} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    limit.abort();
  }
}
