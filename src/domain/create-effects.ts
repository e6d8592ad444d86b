import { filesOf } from './chain.ts';
import type { CreateSaga } from './create-saga.ts';
import type { CreatePlan, CreateRequest } from './plan-create.ts';
import { type Effect, lookWithCinder, until } from './saga.ts';
import type { DiskView } from './sight.ts';

/** Of a switch the chain is told, unless a pull of ours has healed the header: that ends, too. */
export const look = (saga: CreateSaga): Effect =>
  saga.at === 'switching' && saga.heals === undefined
    ? until(lookAll(saga), saga.plan)
    : lookAll(saga);

export const lookAll = ({ request }: CreateSaga) => lookWithCinder(request.newFile);

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

/**
 * A pull onto the file that is right below moves no data, and QEMU writes the format that it has
 * for that file into the overlay's header (measured, test/contract/disk.ts). The name it takes from
 * the header itself, so that must be right.
 */
export const healWith = (plan: CreatePlan, { target, process, chain }: Running): Effect => ({
  do: 'merge',
  target,
  process,
  merge: { kind: 'pull', onto: plan.before.file },
  chain: filesOf(chain),
});

type Running = Pick<DiskView, 'target' | 'chain'> & { readonly process: string };

export const thawOf = ({ process }: CreatePlan): Effect => ({ do: 'thaw', process });
