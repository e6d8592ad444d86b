import type { CreatePlan, CreateRequest } from './plan-create.ts';
import type { Effect } from './saga.ts';

/** What a create wants done, out of its request and its plan. */
export const switchTo = (request: CreateRequest, plan: CreatePlan, quiesce: boolean): Effect => ({
  do: 'snapshot',
  target: plan.target,
  process: plan.process,
  directory: plan.directory,
  file: request.newFile,
  active: plan.before.file,
  ...(quiesce && { quiesce }),
  ...(plan.key && { key: plan.key }),
});

export const mendWith = (request: CreateRequest, plan: CreatePlan): Effect => ({
  do: 'mend',
  overlay: request.newFile,
  directory: plan.directory,
  backing: plan.before.file,
  format: plan.before.format,
});

export const thawOf = ({ process }: CreatePlan): Effect => ({ do: 'thaw', process });
