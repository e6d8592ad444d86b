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

/**
 * One line, no longer than the terminal is wide: it is drawn over the one before. Where that is
 * too narrow for all, ids are cut to what a person tells them apart by, then the bar goes.
 */
export function barOf(bar: Bar, now: number, width = Number.POSITIVE_INFINITY): string {
  const { id, kind, volume, state } = bar;
  const age = clockOf(Math.max(0, (now - bar.askedAt) / 1000));
  const short = `${id.slice(0, 8)} ${age.padStart(5)}  ${kind} ${volume.slice(0, 8)}  ${state}`;
  const [all = '', plain = '', brief = '', percent = ''] = progressWords(bar.progress);
  const forms = [
    `${id} ${age.padStart(7)}  ${kind} ${volume}  ${state}${all}`,
    `${short}${all}`,
    `${short}${plain}`,
    `${short}${brief}`,
    `${id.slice(0, 8)} ${state}${percent}`,
  ];
  return forms.find((it) => it.length <= width) ?? `${id.slice(0, 8)}${percent}`.slice(0, width);
}

/** With a bar, without one, without the rate, and the number alone. */
function progressWords(progress: Bar['progress']): readonly string[] {
  if (progress === null || progress.total === 0) return [];
  const { done, total, rate, secondsLeft } = progress;
  const part = Math.min(1, done / total);
  const full = Math.floor(part * WIDTH);
  const bar = `[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}]`;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const speed = rate === null ? '' : `  ${bytesOf(rate)}/s`;
  const left = secondsLeft === null ? '' : `  ${clockOf(secondsLeft)} left`;
  const plain = `${percent} of ${bytesOf(total)}${speed}${left}`;
  return [` ${bar}${plain}`, ` ${plain}`, ` ${percent}${left}`, percent];
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
