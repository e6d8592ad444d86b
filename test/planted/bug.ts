import type { Ports } from '#sim/world/program.ts';

/** One line of ours, and what somebody could have written instead. */
export interface Edit {
  readonly file: string;
  /** Must occur exactly once; with `after`, which must, its next occurrence is meant. */
  readonly find: string;
  readonly after?: string;
  readonly put: string;
}

/** A bug to plant: a line of ours written otherwise, or a port of the program bound to another. */
export type Bug = {
  readonly name: string;
  /** Who does it so; `ours` are mistakes that were near at hand. */
  readonly habit: 'ours' | 'Nova' | 'Cinder' | 'vdsm';
} & (Planting & Catching);

type Planting =
  | { readonly edit: Edit; readonly bind?: never }
  | { readonly bind: (ports: Ports) => Ports; readonly edit?: never };

/** What must notice it: one of these laws of the random world, or a test that is a law. */
type Catching =
  | { readonly laws: readonly number[]; readonly suite?: never }
  | { readonly suite: string; readonly laws?: never };

/** The text with the one line written otherwise. */
export function edited(text: string, { file, find, put, after = '' }: Edit): string {
  if (`${find}${put}`.includes('\n')) throw new Error(`${file}: an edit is of one line`);
  const from = after === '' ? 0 : only(text, after, file);
  const [head, tail] = [text.slice(0, from), text.slice(from)];
  const at = after === '' ? only(tail, find, file) : tail.indexOf(find);
  if (at < 0) throw new Error(`${file} has not, after ${after}: ${find}`);
  return head + tail.slice(0, at) + put + tail.slice(at + find.length);
}

function only(text: string, find: string, file: string): number {
  const times = text.split(find).length - 1;
  if (times !== 1) throw new Error(`${file} has ${times} times, not once: ${find}`);
  return text.indexOf(find);
}
