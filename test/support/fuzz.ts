/** So many inputs; `.ci/run` asks for five times as many (CK_FUZZ), 100,000 of each kind. */
export const fuzz = (inputs = 20_000): number => inputs * Number(process.env.CK_FUZZ ?? 1);

/** Milliseconds for that many. */
export const FUZZ_TIME = 60_000 * Number(process.env.CK_FUZZ ?? 1);
