import { describe, expect, test } from 'vitest';
import { viewOf } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import { explain } from '#domain/failure.ts';
import type { FileName } from '#domain/ids.ts';
import { planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { SUBJECT, sight } from '../../support/sights.ts';
import { dump } from './dumps.ts';

const FACTS = { process: 'qemu-1', saved: false, size: 2 ** 30, job: null };

/** By dump: the disks that have no local file somewhere in their chain, and what they are. */
const DISKS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '20-block-device-plus-overlay.xml': { vda: 'block device' },
  '21-network-nbd.xml': { vda: 'network (nbd)' },
  '22-network-nbd-plus-overlay.xml': { vda: 'network (nbd)' },
  '23-network-and-odd-sources-inactive.xml': {
    vda: 'network (gluster)',
    vdb: 'network (rbd)',
    vdc: 'volume',
    vdd: 'nvme',
    vde: 'network (gluster)',
    vdi: 'block device',
  },
};

describe.each(Object.entries(DISKS))('%s', (name, words) => {
  const domain = parseDomain(dump(name));
  if (!domain.ok) throw new Error(domain.error);
  const views = domain.value.disks.map((disk) => viewOf(domain.value, disk, FACTS));

  test.each(Object.entries(words))(
    '%s is refused as a %s, and the disk is named',
    (target, word) => {
      const view = views.find((one) => one.target === target);
      if (view === undefined) throw new Error(`no disk ${target}`);
      const file = view.chain.file;
      const create = { ...SUBJECT, newFile: 'new' as FileName };
      const remove = { ...SUBJECT, fileToMerge: file, mergeTarget: null };
      for (const plan of [
        planCreate(create, sight(view, 'creating'), { maxChainDepth: 64 }),
        planDelete(remove, sight(view, 'deleting')),
      ]) {
        if (plan.ok) expect.unreachable();
        expect(plan.error).toEqual({ kind: 'unsupported-source', target, source: word });
        expect(explain(plan.error)).toContain(`Disk ${target} has a source of type ${word}, whose`);
      }
    },
  );
});
