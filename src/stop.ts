/** Resolves at the first SIGINT or SIGTERM; npm may deliver it twice. */
export function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
}

/**
 * Stops as if we had been asked to when the terminal is closed, or when whoever started this
 * process and gave it a channel is killed without a word: then the channel breaks.
 */
export function stopWithParent(): void {
  process.on('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
  if (process.channel === undefined || process.channel === null) return;
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}
