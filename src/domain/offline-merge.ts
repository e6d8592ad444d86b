import { agrees, beginsLike, changedBy, find, formatsOf, means } from './chain.ts';
import { describe, ended, leftover, park, withdraw } from './delete-end.ts';
import type { DeleteSaga } from './delete-saga.ts';
import { explain, explainFault, type Fault } from './failure.ts';
import type { OfflinePlan } from './plan-delete.ts';
import { headerOf, RESTARTED } from './restoring.ts';
import {
  type Effect,
  type Event,
  type Evidence,
  end,
  go,
  isBusy,
  lookAt,
  lookWithCinder,
  type Next,
  noted,
  WATCH,
} from './saga.ts';
import { type DiskView, isGone, type Sight } from './sight.ts';

/**
 * A merge of files that no QEMU has open, by qemu-img. First the guest's XML is relieved of the
 * chain, which would override the headers at the next start (measured). Then what the deleted layer
 * has is copied; once that is on disk a header is repointed, and once that is on disk too, and
 * nothing contradicts it, it is done. Until the header changes the chain is whole, so whatever
 * comes in between is called failed. Each step may be done twice.
 */
export interface OfflineState {
  readonly at: 'offline';
  readonly plan: OfflinePlan;
  /** What was asked for and is not answered, or null. */
  readonly doing: Doing | null;
  /** Whether the guest's XML no longer overrides the headers. */
  readonly unchained: boolean;
  /** Whether what is merged away is on disk where it shall be. */
  readonly copied: boolean;
  /** Whether the header that was repointed is on disk. */
  readonly synced: boolean;
  /** How often the last thing was asked for in vain. */
  readonly tries: number;
  /** How often a lock was tried that a qemu-img of a dead process may hold. */
  readonly waits: number;
  /** A no that is final, or null. */
  readonly refused: Fault | null;
  /** Whether a qemu-img that nobody waits for may still be at work. */
  readonly unsure: boolean;
}

type Doing = 'unchain' | 'copy' | 'repoint' | 'sync';
type Offline = Extract<DeleteSaga, { at: 'offline' }>;
type Step = Next<DeleteSaga>;

/** How often one step is asked for. */
const MAX_TRIES = 30;
/** How often a lock is tried that a qemu-img of a process that died may hold: some two hours. */
const MAX_WAITS = 7200;

export function mergeOffline({ kind, request }: DeleteSaga, plan: OfflinePlan): Step {
  const none = { unchained: false, copied: false, synced: false, unsure: false } as const;
  const saga = { kind, request, at: 'offline', plan, doing: null, ...none } as const;
  const detail = `${describe(plan)}, while the guest is shut off`;
  return act({ ...saga, tries: 0, waits: 0, refused: null }, 'unchain', {
    kind: 'decided',
    detail,
  });
}

export function nextOffline(saga: Offline, event: Event): Step {
  switch (event.kind) {
    case 'blind':
      return go(saga, WATCH, noted(event.fault));
    case 'did':
      return did(saga);
    case 'failed':
      return heed(saga, event.fault);
    case 'saw':
      return judge(saga, event.sight);
    case 'woke': {
      // The process that asked is gone, and its qemu-img may have outlived it.
      const unsure = saga.unsure || saga.doing === 'copy' || saga.doing === 'repoint';
      return look(saga.doing === null ? saga : { ...saga, doing: null, unsure });
    }
    case 'ended':
      return look(saga);
  }
}

/** Nothing is copied for a Cinder that no longer wants it. */
const look = (saga: Offline, ...evidence: Evidence[]): Step => {
  const { repointed } = saga.plan;
  return go(saga, saga.copied ? lookAt(repointed) : lookWithCinder(repointed), ...evidence);
};

function act(saga: Offline, doing: Doing, ...evidence: Evidence[]): Step {
  return go({ ...saga, doing, tries: saga.tries + 1 }, effectOf(saga.plan, doing), ...evidence);
}

function effectOf(plan: OfflinePlan, doing: Doing): Effect {
  const { target, directory, repointed: overlay, before, merge } = plan;
  switch (doing) {
    case 'unchain':
      return { do: 'unchain', target };
    case 'copy':
      return { do: 'copy', directory, chain: before, merge };
    case 'repoint': {
      const { file: backing, format } = onto(plan) ?? before;
      return { do: 'mend', directory, overlay, backing, format };
    }
    case 'sync':
      return { do: 'sync', directory, file: overlay };
  }
}

function did(saga: Offline): Step {
  const free = { ...saga, doing: null };
  switch (saga.doing) {
    case 'unchain':
      return look({ ...free, unchained: true });
    case 'copy':
      // Whoever had the locks before is gone.
      return look({ ...free, copied: true, unsure: false, tries: 0 }, copied(saga));
    case 'sync':
      return look({ ...free, synced: true }, { kind: 'flushed', detail: 'the header is on disk' });
    case 'repoint':
    case null:
      return look(free);
  }
}

const copied = ({ plan }: Offline): Evidence => ({
  kind: 'completed',
  detail: `what ${leftover(plan)} has is copied, and on disk`,
});

/** A no is final, unless it was a "not now", or the lock of a qemu-img that we began. */
function heed(saga: Offline, fault: Fault): Step {
  const unsure = saga.unsure || (fault.kind === 'unknown' && saga.doing !== 'unchain');
  const next = { ...saga, doing: null, unsure };
  const held = saga.unsure && fault.kind === 'rejected' && fault.code === 'locked';
  const changed = fault.kind === 'rejected' && fault.code === 'changed';
  if (held && saga.waits < MAX_WAITS) {
    return go({ ...next, tries: saga.tries - 1, waits: saga.waits + 1 }, WATCH, noted(fault));
  }
  const passing = fault.kind !== 'rejected' || isBusy(fault) || changed;
  if (passing && saga.tries < MAX_TRIES) return go(next, WATCH, noted(fault));
  return look({ ...next, refused: fault }, noted(fault));
}

function judge(saga: Offline, sight: Sight): Step {
  const view = sight.guest;
  const { plan, refused } = saga;
  if (view.kind === 'absent' && !isGone(view.why)) return park(saga, explain(view.why));
  if (view.kind === 'absent') return gaveUp(saga, sight, explain(view.why));
  if (refused !== null) return gaveUp(saga, sight, explainFault(refused));
  const header = headerOf(plan, sight);
  // qemu-img writes a pull's header last, and only once all else is on disk (see Images, `copy`).
  const finished = header.of === 'after' && (saga.copied || plan.merge.kind === 'pull');
  if (view.process !== null) {
    if (!finished || !agrees(view.chain, plan.after)) return gaveUp(saga, sight, RESTARTED);
    return prove(saga, view, sight);
  }
  if (!beginsLike(view.chain, plan.before) && !beginsLike(view.chain, plan.after)) {
    return gaveUp(saga, sight, `the guest's XML has ${view.chain.file} on another chain`);
  }
  if (saga.tries >= MAX_TRIES) return gaveUp(saga, sight, 'what was done is not to be seen');
  if (view.saved) return gaveUp(saga, sight, 'the guest was suspended meanwhile');
  if (!saga.unchained || view.chain.on !== null) return act(saga, 'unchain');
  if (finished) return prove(saga, view, sight);
  if (header.of !== 'before') return gaveUp(saga, sight, 'its header is not clear');
  if (!saga.copied) return copy(saga, sight);
  if (plan.merge.kind === 'commit') return act(saga, 'repoint');
  return gaveUp(saga, sight, 'its header was set back');
}

function copy(saga: Offline, sight: Sight): Step {
  if (sight.cinder === null) return look(saga);
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (status === 'deleting') return act(saga, 'copy');
  if (saga.unsure) return park(saga, 'a qemu-img that nobody waits for may still be at work');
  return withdraw(saga, `the snapshot is ${status} in Cinder`);
}

/** All says that it is merged, and the last write of it is on disk. */
function prove(saga: Offline, view: DiskView, sight: Sight): Step {
  const { plan } = saga;
  const { format } = headerOf(plan, sight);
  const below = onto(plan);
  if (below !== null && !means(format, below.format)) {
    return gaveUp(saga, sight, `the header calls ${below.file} ${format ?? 'nothing'}`);
  }
  if (!saga.copied) return look({ ...saga, copied: true }, copied(saga));
  if (!saga.synced) return act(saga, 'sync');
  const formats = formatsOf(changedBy(plan.before, plan.merge), view.chain, plan.after);
  const reason = `${describe(plan)} is done, the guest being shut off`;
  const last = ended(saga, 'merged', reason, formats, leftover(plan));
  return end(last, { kind: 'deleted', formats });
}

/** While the header is as it was, the chain is whole: whoever wants it gone may ask again. */
function gaveUp(saga: Offline, sight: Sight, why: string): Step {
  const whole = headerOf(saga.plan, sight).of === 'before' && !saga.unsure;
  const gone = whole ? null : leftover(saga.plan);
  const reason = `${describe(saga.plan)} is not done: ${why}`;
  return end(ended(saga, 'failed', reason, [], gone), { kind: 'delete-failed' });
}

/** What the repointed overlay must stand on. */
const onto = ({ after, repointed }: OfflinePlan) => find(after, repointed)?.on ?? null;
