import { run } from '#sim/world/run.ts';
import { tell } from './axes.ts';

/** Calls of the program to its ports, and worlds, in a second of one thread. */
export interface SimulatorSpeed {
  readonly worlds: number;
  readonly operationsPerSecond: number;
  readonly worldsPerSecond: number;
}

export async function simulator(worlds: number): Promise<SimulatorSpeed> {
  tell(`${worlds} random worlds`);
  for (let seed = 1; seed <= Math.ceil(worlds / 10); seed++) await run(seed);
  const began = performance.now();
  let operations = 0;
  for (let seed = 1; seed <= worlds; seed++) operations += (await run(seed)).operations;
  const seconds = (performance.now() - began) / 1000;
  return {
    worlds,
    operationsPerSecond: operations / seconds,
    worldsPerSecond: worlds / seconds,
  };
}
