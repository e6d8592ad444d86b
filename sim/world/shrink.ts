import { type RunOptions, run, type Told } from './run.ts';

type Choices = ReadonlyMap<string, number>;

export interface Shrunk {
  readonly choices: Choices;
  readonly told: Told;
  /** How many histories it took. */
  readonly tries: number;
}

/** What is wrong with a history: the laws that no missing guard excuses. */
export const reds = (told: Told): readonly string[] => [
  ...new Set([
    ...told.broken.filter(({ guard }) => guard === null).map(({ law }) => `law ${law}`),
    ...told.defects.map(() => 'defect'),
  ]),
];

/**
 * Takes decisions away, many at first and then one by one, as long as the same law stays broken
 * (Zeller's delta debugging over the list of decisions). What is left is the story to tell.
 */
export async function shrink(told: Told, budget = 600, retell = run): Promise<Shrunk | null> {
  const [wanted] = reds(told);
  if (wanted === undefined) return null;
  let tries = 0;
  let best: Told | null = null;
  const stillRed = async (choices: Choices): Promise<boolean> => {
    tries++;
    const again = await retell(told.seed, { only: choices } satisfies RunOptions);
    if (!reds(again).includes(wanted)) return false;
    best = again;
    return true;
  };
  if (!(await stillRed(told.choices))) return null;
  let kept = [...told.choices];
  for (let size = Math.ceil(kept.length / 2); size >= 1 && tries < budget; ) {
    let took = false;
    for (let at = 0; at < kept.length && tries < budget; ) {
      const without = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (await stillRed(new Map(without))) {
        kept = without;
        took = true;
      } else at += size;
    }
    if (size === 1 && !took) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  const choices = new Map(kept);
  const full = await retell(told.seed, { only: choices, recording: true });
  return { choices, told: best === null ? told : full, tries };
}
