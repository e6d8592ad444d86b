import type { Bug } from './bug.ts';

/** Network disks: names, ends of chains, and what no image lock keeps out. */
export const NETWORK_BUGS: readonly Bug[] = [
  {
    name: 'a remote overlay is switched to again while an attempt may still come',
    habit: 'ours',
    suite: 'test/domain/create-saga.test.ts',
    edit: {
      file: 'src/domain/create-saga.ts',
      find: "if (pending && view.source.kind === 'remote') return go(saga, WATCH);",
      put: '',
    },
  },
  {
    name: 'a network disk is worked on while its guest is off',
    habit: 'ours',
    suite: 'test/domain/plan-create.test.ts',
    edit: {
      file: 'src/domain/plan-create.ts',
      find: 'if (remote && view.process === null)',
      put: 'if (remote && view.saved)',
    },
  },
  {
    name: 'a file of a network disk is the second part of its name',
    habit: 'Nova',
    suite: 'test/adapters/libvirt/network.test.ts',
    edit: {
      file: 'src/adapters/libvirt/disk-view.ts',
      find: "return source.name.split('/').at(-1) ?? '';",
      put: "return source.name.split('/')[1] ?? '';",
    },
  },
  {
    name: 'a chain that libvirt does not follow to its end is believed',
    habit: 'Nova',
    suite: 'test/adapters/libvirt/network.test.ts',
    edit: {
      file: 'src/adapters/libvirt/disk-view.ts',
      find: "if (active?.source.kind !== 'network' || disk.terminated || !running) return null;",
      put: 'if (active) return null;',
    },
  },
];
