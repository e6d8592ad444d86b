import { err } from '#domain/result.ts';
import type { Bug } from './bug.ts';

const SAGA = 'src/domain/create-saga.ts';
const PLAN = 'src/domain/plan-create.ts';
const OVERLAY = 'src/domain/overlay.ts';
const WITHDRAWN =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a line of code.
  "if (status !== 'creating') return withdraw(saga, `the snapshot is ${status} in Cinder`);";

const QUIESCE = 'src/domain/quiesce.ts';

/** Creates: what is believed of an overlay, and of the hypervisor's answer. */
export const CREATE_BUGS: readonly Bug[] = [
  {
    name: 'nobody looks after a create once it is over',
    habit: 'Nova',
    laws: [32],
    edit: {
      file: 'src/aftercare.ts',
      find: "return find(view.chain, saga.request.newFile) === null ? 'settled' : 'given up';",
      put: "return 'settled';",
    },
  },
  {
    name: 'Cinder is not asked again before the guest is switched back',
    habit: 'ours',
    suite: 'test/domain/undo-saga.test.ts',
    edit: {
      file: 'src/domain/undo-saga.ts',
      find: "if (is !== 'given up') {",
      put: "if (is === 'unclear') {",
    },
  },
  {
    name: 'an overlay that the guest has written to is put on top again',
    habit: 'ours',
    suite: 'test/domain/create-saga.test.ts',
    edit: {
      file: SAGA,
      find: 'saga.begun && plan.value.bytes !== saga.plan.bytes',
      put: 'saga.begun && view === null',
    },
  },
  {
    name: "somebody else's mirror is pivoted",
    habit: 'ours',
    suite: 'test/domain/undo-saga.test.ts',
    edit: {
      file: 'src/domain/undo-saga.ts',
      find: "kind === 'active-commit' && mirror?.into === made.before.file;",
      put: "kind === 'active-commit' && made !== null;",
    },
  },
  {
    name: "the overlay's header is not looked at",
    habit: 'Nova',
    laws: [7],
    edit: {
      file: PLAN,
      find: 'const verdict = judgeOverlay(header, expected);',
      put: "const verdict = { verdict: 'accepted' } as ReturnType<typeof judgeOverlay>;",
    },
  },
  {
    name: 'the backing format in the header is not compared',
    habit: 'Nova',
    laws: [7],
    edit: {
      file: OVERLAY,
      find: 'if (named === null || (said !== null && format === undefined) || said === format)',
      put: 'if (named === null || said !== null)',
    },
  },
  {
    name: 'the backing name in the header is not compared',
    habit: 'Nova',
    laws: [7],
    edit: {
      file: OVERLAY,
      find: 'if (backing !== undefined && header.backingFile !== backing) {',
      put: 'if (backing !== undefined && header.backingFile === null) {',
    },
  },
  {
    name: 'the size in the header is not compared',
    habit: 'Nova',
    laws: [1],
    edit: {
      file: OVERLAY,
      find: 'if (size !== undefined && header.size !== size) {',
      put: 'if (false) {',
    },
  },
  {
    name: 'an overlay that keeps its data elsewhere is taken',
    habit: 'Cinder',
    laws: [7],
    edit: { file: OVERLAY, find: 'if (header.dataFile) flaws', put: 'if (false) flaws' },
  },
  {
    name: 'an overlay of any name is taken, a raw file too',
    habit: 'Nova',
    laws: [6],
    edit: {
      file: 'src/service.ts',
      find: "if (plain.kind === 'create' && !isNamedFor(plain)) {",
      put: 'if (false) {',
    },
  },
  {
    name: 'the mend is forgotten',
    habit: 'ours',
    laws: [7],
    edit: { file: SAGA, find: 'if (mend !== null) {', put: 'if (mend !== null && mended) {' },
  },
  {
    name: 'the mend writes what Cinder guessed',
    habit: 'Cinder',
    laws: [17],
    edit: {
      file: 'src/domain/create-effects.ts',
      find: 'format: plan.before.format,',
      put: "format: 'qcow2' as typeof plan.before.format,",
      after: 'const mendWith =',
    },
  },
  {
    name: 'the status is not read again right before the switch',
    habit: 'Nova',
    laws: [29],
    edit: { file: SAGA, find: WITHDRAWN, put: '', after: 'function decide(' },
  },
  {
    name: 'created is said before anybody looked',
    habit: 'ours',
    laws: [9],
    edit: {
      file: SAGA,
      find: "if (event.kind === 'failed') return heed(saga, event.fault);",
      put: "if (event.kind !== 'blind') return created(saga, null);",
    },
  },
  {
    name: 'a switch that failed is taken for done',
    habit: 'ours',
    laws: [9],
    edit: {
      file: SAGA,
      find: "if (event.kind === 'failed') return heed(saga, event.fault);",
      put: "if (event.kind === 'failed') return created(saga, null);",
    },
  },
  {
    name: "the hypervisor's error is believed, and nobody looks",
    habit: 'Nova',
    laws: [15],
    edit: {
      file: SAGA,
      find: "if (event.kind === 'failed') return heed(saga, event.fault);",
      put: "if (event.kind === 'failed') return fail(saga, explainFault(event.fault));",
    },
  },
  {
    name: 'the old file still active counts as created',
    habit: 'ours',
    laws: [9],
    edit: {
      file: SAGA,
      find: 'if (shows(view, plan.before, plan.process)) return unswitched(saga, view, sight);',
      put: 'if (shows(view, plan.before, plan.process)) return created(saga, view);',
    },
  },
  {
    name: 'the overlay in use is called failed once Cinder is slow',
    habit: 'Nova',
    laws: [15],
    edit: {
      file: SAGA,
      find: 'if (shows(view, plan.after, plan.process)) return verify(saga, view, sight);',
      put: "if (shows(view, plan.after, plan.process)) return fail(saga, 'too late');",
    },
  },
  {
    name: 'a failed switch is tried again under another name',
    habit: 'Nova',
    laws: [15],
    bind: (ports) => ({
      ...ports,
      hypervisor: {
        ...ports.hypervisor,
        snapshot: async (order) => {
          const answer = await ports.hypervisor.snapshot(order);
          if (answer.ok) return answer;
          const file = `${order.file}.again` as typeof order.file;
          const again = await ports.hypervisor.snapshot({ ...order, file });
          return again.ok ? again : err({ kind: 'rejected', who: 'libvirt', code: 1, detail: '' });
        },
      },
    }),
  },
  {
    name: 'the disk is named by its path, not its target',
    habit: 'Nova',
    laws: [17],
    edit: {
      file: 'src/perform.ts',
      find: 'hypervisor.snapshot({ ...effect, volume, server })',
      put: 'hypervisor.snapshot({ ...effect, volume, server, target: effect.active })',
    },
  },
  {
    name: 'a withdrawn create is told as failed',
    habit: 'ours',
    laws: [15],
    edit: {
      file: 'src/domain/create-end.ts',
      find: "end(ended(saga, 'withdrawn', reason), null);",
      put: "end(ended(saga, 'withdrawn', reason), { kind: 'create-failed' });",
    },
  },
  {
    name: 'a guest is not thawed after the process that had it frozen is gone',
    habit: 'ours',
    laws: [17],
    edit: {
      file: SAGA,
      find: 'return answered({ ...saga, pending: true });',
      put: 'return go(saga, look(saga));',
    },
  },
  {
    name: 'a freeze that failed is taken for none',
    habit: 'Nova',
    laws: [17],
    edit: {
      file: QUIESCE,
      find: "if (said.kind !== 'rejected') return said.kind === 'unknown';",
      put: 'return false;',
    },
  },
];
