import type { Bug } from './bug.ts';

const SAGA = 'src/domain/delete-saga.ts';
const CHAIN = 'src/domain/chain.ts';
const OFFLINE = 'src/domain/offline-merge.ts';
const WITHDRAWN =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a line of code.
  "if (status !== 'deleting') return withdraw(saga, `the snapshot is ${status} in Cinder`);";
const RESTARTED = 'if (view.process !== saga.plan.process) return died(saga, view, sight);';
const HEARD = 'return go({ ...saga, heard: event.how }, look(saga), heard(event.how));';
const IN_CHAIN = "if (plan.merge.kind === 'commit') return merged(next, evidence); ";
const PAUSED = "event.kind === 'failed' && noted(event.fault).detail.includes('(paused)')";
const WHEN_PAUSED = `if (${PAUSED}) return merged(saga, noted(event.fault)); `;
const FLUSHED = "if (event.kind === 'did') return merged(saga, {";
const MERGED = "merged({ ...saga, at: 'flushing', formats: [] }, heard('ended'))";

/** Deletes: when a merge is done, and which merges may be begun at all. */
export const DELETE_BUGS: readonly Bug[] = [
  {
    name: 'a pull is reported before the barrier',
    habit: 'Nova',
    laws: [8],
    edit: {
      file: SAGA,
      find: 'return go(next, barrier(plan), evidence);',
      put: 'return merged(next, evidence);',
    },
  },
  {
    name: 'a commit is on disk once it is in the chain',
    habit: 'ours',
    laws: [2, 8],
    edit: {
      file: SAGA,
      find: 'return go(next, barrier(plan), evidence);',
      put: `${IN_CHAIN}return go(next, barrier(plan), evidence);`,
    },
  },
  {
    name: 'a paused guest has flushed all that it had',
    habit: 'ours',
    suite: 'test/domain/delete-saga.test.ts',
    edit: {
      file: SAGA,
      find: "if (event.kind === 'did') return merged(saga, {",
      put: `${WHEN_PAUSED}${FLUSHED}`,
    },
  },
  {
    name: 'a flush that failed is good enough',
    habit: 'ours',
    laws: [8],
    edit: {
      file: SAGA,
      find: "if (event.kind === 'did') return merged(saga, {",
      put: "if (event.kind === 'did' || event.kind === 'failed') return merged(saga, {",
    },
  },
  {
    name: 'no job is a job that succeeded',
    habit: 'Nova',
    laws: [8],
    edit: {
      file: SAGA,
      find: 'if (agrees(view.chain, saga.plan.before)) return unmerged(saga, sight);',
      put: `return ${MERGED};`,
    },
  },
  {
    name: 'the event that a job completed is enough',
    habit: 'vdsm',
    laws: [8],
    edit: {
      file: SAGA,
      find: HEARD,
      put: HEARD.replace('return', `if (event.how === 'completed') return ${MERGED}; return`),
    },
  },
  {
    name: 'a job that failed has merged',
    habit: 'Nova',
    laws: [8],
    edit: {
      file: SAGA,
      find: "if (said === 'failed') return",
      put: `if (said === 'failed') return ${MERGED};`,
    },
  },
  {
    name: 'a job that went with its QEMU has succeeded',
    habit: 'Nova',
    laws: [8, 14],
    edit: {
      file: SAGA,
      find: RESTARTED,
      put: 'if (view.process !== saga.plan.process) return finished(saga, view, sight);',
    },
  },
  {
    name: 'another QEMU process is taken for the one that began',
    habit: 'vdsm',
    laws: [8, 14],
    edit: { file: SAGA, find: RESTARTED, put: '' },
  },
  {
    name: 'the live chain is not compared when the job is gone',
    habit: 'Nova',
    laws: [8, 14],
    edit: {
      file: SAGA,
      find: 'if (agrees(view.chain, saga.plan.after)) return finished(saga, view, sight);',
      put: 'if (view.chain.on !== undefined) return finished(saga, view, sight);',
    },
  },
  {
    name: 'a request that fits the chain is about this snapshot',
    habit: 'Nova',
    suite: 'test/domain/plan-delete.test.ts',
    edit: {
      file: 'src/domain/plan-delete.ts',
      find: 'if (stale !== null) return err(stale);',
      put: '',
    },
  },
  {
    name: 'an XML that is late is a merge that vanished',
    habit: 'ours',
    laws: [14],
    edit: {
      file: SAGA,
      find: "if (said === 'completed' || (going && headerOf(saga.plan, sight).of === 'after')) {",
      put: "if (said === 'completed') {",
    },
  },
  {
    name: 'a merge whose QEMU died binds no retry',
    habit: 'ours',
    laws: [14],
    edit: {
      file: 'src/domain/restoring.ts',
      find: "const last = ended(saga, 'failed', reason, [], leftover(saga.plan));",
      put: "const last = ended(saga, 'failed', reason, [], null);",
    },
  },
  {
    name: 'what QEMU died under is left as it is',
    habit: 'Nova',
    laws: [2, 14],
    edit: {
      file: SAGA,
      find: "if (view.process === null) return restoring(saga, sight, 'the guest is shut off');",
      put: "if (view.process === null) return fail(saga, 'QEMU died');",
    },
  },
  {
    name: 'the status is not read again right before the merge',
    habit: 'Nova',
    laws: [29],
    edit: { file: SAGA, find: WITHDRAWN, put: '', after: 'function decide(' },
  },
  {
    name: 'every format that is told is qcow2',
    habit: 'ours',
    laws: [5],
    edit: {
      file: CHAIN,
      find: "told.push({ file, format: reported, provenance: 'reported' });",
      put: "told.push({ file, format: QCOW2, provenance: 'reported' });",
    },
  },
  {
    name: 'of a pull the format of the active file is not told',
    habit: 'Cinder',
    laws: [5],
    edit: {
      file: CHAIN,
      find: 'return merge.onto === null ? [before.file] : [before.file, merge.onto];',
      put: 'return merge.onto === null ? [] : [merge.onto];',
    },
  },
  {
    name: 'a base of which libvirt says nothing is raw',
    habit: 'Nova',
    laws: [17],
    edit: {
      file: CHAIN,
      find: 'const implied = seen.on === null ? known.get(seen.file) : QCOW2;',
      put: "const implied = seen.on === null ? ('raw' as Format) : QCOW2;",
    },
  },
  {
    name: 'of a guest that is shut off a header is repointed before anything is copied',
    habit: 'ours',
    laws: [1, 2, 3, 8],
    edit: {
      file: OFFLINE,
      find: 'if (!saga.copied) return copy(saga, sight);',
      put: "if (!saga.copied && plan.merge.kind === 'pull') return copy(saga, sight);",
    },
  },
  {
    name: 'a merge by qemu-img is done, though its guest was started with the old chain',
    habit: 'ours',
    laws: [8],
    edit: {
      file: OFFLINE,
      find: 'if (!finished || !agrees(view.chain, plan.after))',
      put: 'if (!agrees(view.chain, plan.after) && !saga.unchained)',
    },
  },
  {
    name: 'a header of a guest that is shut off is believed, whatever the record says',
    habit: 'Cinder',
    suite: 'test/domain/cold-chain.test.ts',
    edit: {
      file: 'src/domain/cold-chain.ts',
      find: 'if (at.format !== expected) {',
      put: 'if (expected === null) {',
    },
  },
  {
    name: 'the header of a raw base is read',
    habit: 'Cinder',
    laws: [6],
    edit: {
      file: 'src/domain/sight.ts',
      find: '(layer.format ?? known.get(layer.file)) === QCOW2) &&',
      put: 'layer.format !== null) &&',
    },
  },
  {
    name: 'whatever file a request names is read',
    habit: 'Cinder',
    laws: [6],
    edit: {
      file: 'src/look.ts',
      find: '(file) => members.has(file) || file === newcomer || known.get(file) === QCOW2,',
      put: '() => true,',
    },
  },
  {
    name: 'live progress may say 90%',
    habit: 'Nova',
    laws: [11],
    edit: {
      file: 'src/domain/status.ts',
      find: 'return whole === 90 ? 89 : whole;',
      put: 'return whole;',
    },
  },
];
