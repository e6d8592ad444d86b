import type { Check } from '#ports/doctor.ts';

/** All is well. */
export const fine = (check: string, saw: string): Check => ({ check, status: 'ok', saw, todo: '' });
/** It works, and somebody should know. */
export const odd = (check: string, saw: string, todo: string): Check => ({
  check,
  status: 'warning',
  saw,
  todo,
});
/** It does not work. */
export const bad = (check: string, saw: string, todo: string): Check => ({
  check,
  status: 'error',
  saw,
  todo,
});
