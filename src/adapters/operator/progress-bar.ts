/** What a bar is drawn of: an operation, and how far its merge is when one was seen. */
export interface Bar {
  readonly id: string;
  readonly kind: string;
  readonly volume: string;
  readonly state: string;
  readonly askedAt: number;
  readonly progress: {
    readonly done: number;
    readonly total: number;
    readonly rate: number | null;
    readonly secondsLeft: number | null;
  } | null;
}

const WIDTH = 24;

/** One line, no longer than the terminal is wide: it is drawn over the one before. */
export function barOf({ id, kind, volume, state, askedAt, progress }: Bar, now: number): string {
  const age = clockOf(Math.max(0, (now - askedAt) / 1000));
  const head = `${id} ${age.padStart(7)}  ${kind} ${volume}  ${state}`;
  if (progress === null || progress.total === 0) return head;
  const { done, total, rate, secondsLeft } = progress;
  const part = Math.min(1, done / total);
  const full = Math.floor(part * WIDTH);
  const bar = `[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}]`;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const speed = rate === null ? '' : `  ${bytesOf(rate)}/s`;
  const left = secondsLeft === null ? '' : `  ${clockOf(secondsLeft)} left`;
  return `${head} ${bar}${percent} of ${bytesOf(total)}${speed}${left}`;
}

/** `0:07`, `12:34`, `1:02:03`. */
export function clockOf(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** With the units of virsh: KiB, MiB, GiB, TiB. */
export function bytesOf(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(bytes || 1) / 10)));
  const value = bytes / 1024 ** at;
  return `${at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
