import { wrapped } from './faulty.ts';

export interface OverheardOptions {
  /** Methods that are not worth a line. */
  readonly except?: readonly string[];
}

/** A port whose every call is told as one line, when its answer is known. */
export function overheard<T extends object>(
  who: string,
  port: T,
  sink: (line: string) => void,
  { except = ['listen', 'sleep', 'now', 'uuid', 'random'] }: OverheardOptions = {},
): T {
  return wrapped(port, (method, args, call) => {
    const answer = call(args);
    if (except.includes(method)) return answer;
    const asked = [method, ...args.map(told)].join(' ').trimEnd();
    const tell = (said: string) => sink(`${who.padEnd(9)}${asked} → ${said}`);
    if (!(answer instanceof Promise)) {
      tell(told(answer));
      return answer;
    }
    return answer.then(
      (value: unknown) => {
        tell(told(value));
        return value;
      },
      (error: unknown) => {
        tell(`throws ${error instanceof Error ? error.message : error}`);
        throw error;
      },
    );
  });
}

/** A value in a few words: chains from the active file down, results by their value or fault. */
export function told(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (value instanceof Map)
    return listed([...value].map(([key, of]) => `${told(key)}: ${told(of)}`));
  if (Array.isArray(value)) return listed(value.map(told));
  if (typeof value !== 'object') return short(String(value));
  const it = value as Record<string, unknown>;
  if (it.ok === true) return it.value === null ? 'ok' : told(it.value);
  if (it.ok === false) return `✗ ${told(it.error)}`;
  if ('file' in it && 'on' in it) return chain(it);
  if (it.kind === 'disk') return `${told(it.chain)}${jobOf(it.job)}`;
  if (it.kind === 'absent') return `absent (${told((it.why as { kind: string }).kind)})`;
  if ('who' in it) return `${it.who} ${it.kind}: ${it.detail}`;
  if ('saga' in it) return `${it.id ? `${told(it.id)} ` : ''}${sagaOf(it.saga)}`;
  if ('backingFile' in it) return `on ${told(it.backingFile)}, ${it.backingFormat}`;
  return fields(it);
}

function chain(layer: Record<string, unknown>): string {
  const below = layer.on as Record<string, unknown> | null;
  const on = below === null ? 'nothing' : chain(below);
  return `${told(layer.file)}, ${layer.format ?? 'no format'}, on ${on}`;
}

function jobOf(job: unknown): string {
  if (job === null || typeof job !== 'object') return '';
  const { kind, done, total } = job as Record<string, unknown>;
  return ` [${kind} ${done}/${total}]`;
}

const sagaOf = (saga: unknown): string => {
  const { kind, at, outcome } = saga as Record<string, unknown>;
  return outcome === undefined ? `${kind} ${at}` : `${kind} ${at} ${outcome}`;
};

const fields = (it: Record<string, unknown>): string =>
  Object.entries(it)
    .filter(([key, value]) => key !== 'do' && typeof value !== 'function')
    .map(([key, value]) => (key === 'kind' ? told(value) : `${key}=${told(value)}`))
    .join(' ');

const listed = (items: readonly string[]): string =>
  items.length === 0 ? 'none' : `[${items.join('; ')}]`;

/** UUIDs by their first part: a story is read by people. */
const short = (text: string): string =>
  text.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');
