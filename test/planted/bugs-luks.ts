import type { Bug } from './bug.ts';

/** Encrypted volumes: what becomes of the key, and of who writes without one. */
export const LUKS_BUGS: readonly Bug[] = [
  {
    name: 'a plain overlay is put over an encrypted volume',
    habit: 'Nova',
    laws: [7],
    edit: {
      file: 'src/domain/overlay.ts',
      find: "if (encryption !== null) flaws.push(flaw('encryption', encryption));",
      put: "if (header.encryption === 'aes') flaws.push(flaw('encryption', 'AES'));",
    },
  },
  {
    name: 'libvirt is not told the key of the overlay',
    habit: 'Nova',
    laws: [17],
    edit: {
      file: 'src/domain/create-effects.ts',
      find: '...(plan.key && { key: plan.key }),',
      put: '',
    },
  },
  {
    name: 'an encrypted guest is left to the headers after its QEMU died',
    habit: 'ours',
    suite: 'test/domain/restoring.test.ts',
    edit: {
      file: 'src/domain/restoring.ts',
      find: '...(key && { instead: { directory, chain, key } }),',
      put: '',
    },
  },
  {
    name: 'an <encryption> without its engine',
    habit: 'ours',
    suite: 'test/adapters/libvirt/domain-xml.test.ts',
    edit: {
      file: 'src/adapters/libvirt/snapshot-xml.ts',
      find: "const by = engine === null ? '' :",
      put: "const by = engine !== null ? '' :",
    },
  },
  {
    name: 'a delete on an encrypted volume of a stopped guest is left to qemu-img',
    habit: 'ours',
    suite: 'test/domain/encryption.test.ts',
    edit: {
      file: 'src/domain/plan-delete.ts',
      find: 'if (key !== null && process === null)',
      put: 'if (key !== null && process === undefined)',
    },
  },
];
