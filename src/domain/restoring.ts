import { agrees, find, means } from './chain.ts';
import { describe, ended, leftover } from './delete-end.ts';
import type { DeleteSaga } from './delete-saga.ts';
import { explain, explainFault } from './failure.ts';
import type { FileName, Format } from './ids.ts';
import type { DeletePlan } from './plan-delete.ts';
import { type Effect, type Event, end, go, lookAt, type Next, noted, WATCH } from './saga.ts';
import type { Sight } from './sight.ts';

type At<A extends DeleteSaga['at']> = Extract<DeleteSaga, { at: A }>;
type Step = Next<DeleteSaga>;

/** Why there is nothing to set back any more: another QEMU has the file open. */
export const RESTARTED = 'the guest was restarted';

/** How often a share may refuse before it is left to a person. */
const MAX_TRIES = 30;

/**
 * QEMU died under a merge. Its header may name the new backing file already while the clusters
 * were in QEMU's memory only (SIGKILL after a pull: 51 of 51 lost theirs; in a commit 4 of 66).
 * The file that was being merged away still has them, so the pointer is set back to it before the
 * guest starts again: that undoes the merge, whatever had become of it, and the delete fails with
 * the chain whole.
 */
export function restoring(
  { kind, request, plan }: At<'merging' | 'flushing'>,
  sight: Sight,
  why: string,
): Step {
  return restore({ kind, request, at: 'restoring', plan, why, unchained: false, tries: 0 }, sight);
}

export function nextRestoring(saga: At<'restoring'>, event: Event): Step {
  switch (event.kind) {
    case 'blind':
      return go(saga, WATCH, noted(event.fault));
    case 'failed':
      if (saga.tries >= MAX_TRIES) return lost(saga, explainFault(event.fault));
      return go({ ...saga, tries: saga.tries + 1 }, WATCH, noted(event.fault));
    case 'saw':
      return restore(saga, event.sight);
    case 'did':
      // What was asked for first is done first: a header set back changes nothing here.
      return go({ ...saga, unchained: true }, lookAt(saga.plan.repointed));
    case 'woke':
    case 'ended':
      return go(saga, lookAt(saga.plan.repointed));
  }
}

function restore(saga: At<'restoring'>, sight: Sight): Step {
  const { plan } = saga;
  const view = sight.guest;
  if (view.kind === 'absent') return lost(saga, explain(view.why));
  const header = headerOf(plan, sight);
  if (view.process !== null) {
    const whole = header.of === 'before' && agrees(view.chain, plan.before);
    return whole ? undone(saga) : lost(saga, RESTARTED);
  }
  // A share that is not mounted yet, as after a start of the host, says nothing of what is on it.
  const page = sight.headers[plan.repointed];
  if (page?.ok === false && page.error.kind === 'missing') return go(saga, WATCH);
  const old = backing(plan.before, plan.repointed);
  if (header.of === 'neither' || old === null)
    return lost(saga, `the header of ${plan.repointed} is not clear`);
  // First the XML, which would override the headers; a crash in between leaves it as it was.
  if (!saga.unchained) return go(saga, unchain(plan));
  if (header.of === 'before' && says(plan, header.format, old.format)) return undone(saga);
  if (saga.tries >= MAX_TRIES) return lost(saga, `${plan.repointed} was set back, and is not`);
  const { directory, repointed: overlay } = plan;
  const detail = `set ${overlay} back to ${old.file}`;
  const mend = { do: 'mend', overlay, directory, backing: old.file, format: old.format } as const;
  return go({ ...saga, tries: saga.tries + 1 }, mend, { kind: 'decided', detail });
}

/** From the headers of encrypted layers libvirt 9.0 starts no guest, so its XML names them. */
const unchain = ({ target, directory, before: chain, key }: DeletePlan): Effect => ({
  do: 'unchain',
  target,
  ...(key && { instead: { directory, chain, key } }),
});

/** What libvirt calls raw with a key QEMU has written as luks, and Cinder as raw. */
const says = ({ key }: DeletePlan, said: Format | null, format: Format): boolean =>
  key ? means(said, format) : said === format;

/** Which chain the header that a merge rewrites belongs to now, and the format it names there. */
export function headerOf(
  plan: DeletePlan,
  { headers }: Sight,
): { readonly of: 'before' | 'after' | 'neither'; readonly format: Format | null } {
  const header = headers[plan.repointed];
  if (header === undefined || !header.ok) return { of: 'neither', format: null };
  const { backingFile, backingFormat: format } = header.value;
  if (backingFile === backing(plan.before, plan.repointed)?.file) return { of: 'before', format };
  const after = backing(plan.after, plan.repointed);
  return { of: backingFile === (after?.file ?? null) ? 'after' : 'neither', format };
}

const backing = (
  chain: DeletePlan['before'],
  file: FileName,
): { readonly file: FileName; readonly format: Format } | null => find(chain, file)?.on ?? null;

/** The chain is as it was before the merge began: whoever wants it gone may ask again. */
function undone(saga: At<'restoring'>): Step {
  const reason = `${describe(saga.plan)} was not yet safe on disk and is undone: ${saga.why}`;
  return end(ended(saga, 'failed', reason), { kind: 'delete-failed' }, RESTORED);
}

const RESTORED = { kind: 'restored', detail: 'the chain is as it was before' } as const;

/** Cinder must keep the file: a commit can be redone from it, and a pull's clusters are in it. */
function lost(saga: At<'restoring'>, why: string): Step {
  const whys = [...new Set([saga.why, why])].join('; ');
  const reason = `${describe(saga.plan)} was not yet safe on disk: ${whys}`;
  const last = ended(saga, 'failed', reason, [], leftover(saga.plan));
  const unseen = why === RESTARTED ? {} : { unseen: true as const };
  return end({ ...last, ...unseen }, { kind: 'delete-failed' });
}
