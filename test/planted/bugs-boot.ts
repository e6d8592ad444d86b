import type { Bug } from './bug.ts';

const KNOWN = 'src/domain/known-chain.ts';

/** What the boot guard is told, and how it judges. */
export const BOOT_BUGS: readonly Bug[] = [
  {
    name: 'a guest may start while a merge may have rewritten a header',
    habit: 'Nova',
    laws: [2],
    edit: {
      file: KNOWN,
      find: "if (held === 'all' && files.includes(disk.file)) return { kind: 'held' };",
      put: '',
    },
  },
  {
    name: 'a guest may start on the file that it has left',
    habit: 'Nova',
    laws: [2],
    edit: {
      file: KNOWN,
      find: 'const isBelow = below.includes(disk.file) && exists(active);',
      put: 'const isBelow = below.includes(disk.file) && exists(active) && below.length < 0;',
    },
  },
  {
    name: 'the end of a merge is not known, and nothing ever starts again',
    habit: 'ours',
    laws: [17],
    edit: {
      file: KNOWN,
      find: "return known(plan, now.outcome === 'merged' ? plan.after : plan.before);",
      put: "return known(plan, plan.before, 'all');",
    },
  },
  {
    name: 'a doubt about a merge is never over, and nothing ever starts again',
    habit: 'ours',
    suite: 'test/domain/known-chain.test.ts',
    edit: {
      file: KNOWN,
      find: 'if (known.process !== null && known.process !== process) return true;',
      put: '',
    },
  },
  {
    name: 'an operation that ends well lets a chain go that another merge holds',
    habit: 'ours',
    // In 3,000 histories no guest is killed between what ends well and the merge that comes late.
    suite: 'test/domain/known-chain.test.ts',
    edit: {
      file: KNOWN,
      find: "if (doubts.length > 0) return { ...known, held: 'all', doubts };",
      put: 'if (doubts.length > 0) return { ...known, doubts };',
    },
  },
  {
    name: 'a merge that was called failed and may still come through holds nothing',
    habit: 'ours',
    laws: [2],
    edit: {
      file: KNOWN,
      find: "const unknown = now.outcome === 'unknown' || now.unsure === true;",
      put: "const unknown = now.outcome === 'unknown';",
    },
  },
];
