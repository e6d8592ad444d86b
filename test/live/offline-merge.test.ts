/**
 * Deletes for a guest that is shut off (LP 1919487): qemu-img merges, and the guest's XML, which
 * would override the headers at the next start, is relieved of the chain.
 */
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import { ok } from '#domain/result.ts';
import { instead } from './instead.ts';
import { imageInfo } from './lab/images.ts';
import { virsh } from './lab/libvirt.ts';
import { waitFor } from './lab/processes.ts';
import { askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
/** The guard taken away: the XML keeps the chain, and nobody who looks is told. */
const withoutUnchain = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, {
    unchain: async () => ok(null),
    look: async (disk) => {
      const seen = await made.look(disk);
      if (!seen.ok || seen.value.kind === 'absent' || seen.value.process !== null) return seen;
      return ok({ ...seen.value, chain: { ...seen.value.chain, on: null } });
    },
  }),
);

/** A raw base with data and overlays with theirs, of a persistent guest that runs. */
async function running(overlays: number) {
  const { volume, base, path, guest } = await stage.guestOnRaw();
  const files = [base];
  for (let nth = 1; nth <= overlays; nth++) {
    files.push(await stage.taken({ volume, path }, files.at(-1) ?? base));
    await guest.write('vda', nth * 256 * KIB, 512 * KIB, 0x20 + nth);
    await guest.writeZeroes('vda', nth * 1024 * KIB, 128 * KIB);
  }
  const hash = await guest.hash('vda');
  return { volume, guest, files, hash, path };
}

type Kind = 'commit' | 'pull onto the base' | 'pull of everything';

/** The delete of the layer below the active file, asked for while the guest is off. */
async function story(kind: Kind) {
  const it = await running(kind === 'pull of everything' ? 1 : 2);
  const { volume, files, hash, path } = it;
  await using guest = it.guest;
  await guest.destroy();
  const overridden = (await guest.xml({ inactive: true })).includes('<backingStore');
  const [base = '', first = ''] = files;
  const info = {
    commit: { file_to_merge: first, merge_target_file: base },
    'pull onto the base': { file_to_merge: base, merge_target_file: null },
    'pull of everything': { file_to_merge: null, merge_target_file: null },
  }[kind];
  const id = volumes.put(volume, 'deleting');
  expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
  const told = await volumes.hear(id);
  const { [kind === 'pull of everything' ? 0 : 1]: gone = '' } = files;
  // What Cinder does once it has heard that it may.
  if (told.kind === 'deleted') await rm(path(gone));
  const header = await imageInfo(path(files.at(-1) ?? ''), 'qcow2');
  const xml = await guest.xml({ inactive: true });
  const starts = await guest.start().then(
    () => true,
    () => false,
  );
  const whole = starts && (await guest.hash('vda')) === hash;
  if (starts) await guest.destroy();
  if (starts) await guest.startFromTopOnly();
  const coldWhole = starts && (await guest.hash('vda')) === hash;
  const says = [header['backing-filename'] ?? null, header['backing-filename-format'] ?? null];
  const overrides = xml.includes('<backingStore');
  return { told, overridden, overrides, starts, whole, coldWhole, says, files };
}

test.each<[Kind]>([['commit'], ['pull onto the base'], ['pull of everything']])(
  'a %s is done while the guest is shut off',
  async (kind) => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const { told, says, files, ...rest } = await story(kind);
    const [base = ''] = files;
    const of = { file: base, format: 'raw', provenance: 'assumed' };
    const active = { file: files.at(-1), format: 'qcow2', provenance: 'reported' };
    const formats = {
      commit: [of],
      'pull onto the base': [active, of],
      'pull of everything': [active],
    }[kind];
    expect(told).toEqual({ kind: 'deleted', formats });
    expect(says).toEqual(kind === 'pull of everything' ? [null, null] : [base, 'raw']);
    expect(rest).toEqual({
      overridden: true,
      overrides: false,
      starts: true,
      whole: true,
      coldWhole: true,
    });
  },
);

test('with the chain left in its XML the guest does not start any more', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder, withoutUnchain);
  const { told, overridden, overrides, starts } = await story('commit');
  expect({ told: told.kind, overridden, overrides, starts }).toEqual({
    told: 'deleted',
    overridden: true,
    overrides: true,
    starts: false,
  });
});

/** A guest that is started just before qemu-img is: its QEMU has the locks. */
test('a guest that is started in the middle keeps its chain, and the delete fails', async () => {
  tellOnFailure(stage.at);
  let starting: () => Promise<void> = async () => {};
  const interrupted = wrapped(TOKEN.images, (made) =>
    instead(made, {
      copy: async (order) => {
        await starting();
        return made.copy(order);
      },
    }),
  );
  await using _service = await inProcess(stage.at, withoutCinder, interrupted);
  for (const kind of ['commit', 'pull onto the base'] as const) {
    const { volume, files, hash, path, guest: started } = await running(2);
    await using guest = started;
    await guest.destroy();
    starting = () => guest.start();
    const [base = '', first = '', top = ''] = files;
    const target = kind === 'commit' ? base : null;
    const info = { file_to_merge: kind === 'commit' ? first : base, merge_target_file: target };
    const id = volumes.put(volume, 'deleting');
    expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
    expect(await volumes.hear(id)).toEqual({ kind: 'delete-failed' });
    expect(await guest.hash('vda')).toBe(hash);
    expect(await imageInfo(path(top), 'qcow2')).toMatchObject({ 'backing-filename': first });
    // The same request again is a merge by that QEMU.
    volumes.put(volume, 'deleting', id);
    expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
    const done = () => volumes.verdict(id)?.kind === 'deleted';
    await waitFor('the merge of the guest that runs', async () => done());
    expect(await guest.hash('vda')).toBe(hash);
  }
});

/** A guest that was suspended starts with the XML that was saved along with its memory. */
test('a guest that was suspended is refused, and would not start if it were not', async () => {
  tellOnFailure(stage.at);
  const unaware = wrapped(TOKEN.hypervisor, (made) =>
    instead(made, {
      look: async (disk) => {
        const seen = await made.look(disk);
        return seen.ok && seen.value.kind === 'disk' ? ok({ ...seen.value, saved: false }) : seen;
      },
    }),
  );
  const { volume, files, hash, path, guest: started } = await withService(() => running(2));
  await using guest = started;
  const [base = '', first = ''] = files;
  const info = { file_to_merge: first, merge_target_file: base };
  await virsh('managedsave', guest.name);
  await withService(async () => {
    const id = volumes.put(volume, 'deleting');
    const refused = await askDelete(stage.at, volume, id, info);
    expect(refused).toMatchObject({ status: 400, says: expect.stringContaining('is suspended') });
  });
  await guest.start();
  expect(await guest.hash('vda')).toBe(hash);
  await virsh('managedsave', guest.name);
  await withService(async () => {
    const id = volumes.put(volume, 'deleting');
    expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'deleted' });
  }, unaware);
  await rm(path(first));
  await expect(guest.start()).rejects.toThrow(first);
  await virsh('managedsave-remove', guest.name);
});

async function withService<T>(
  work: () => Promise<T>,
  ...modules: readonly ReturnType<typeof wrapped>[]
): Promise<T> {
  await using _service = await inProcess(stage.at, withoutCinder, ...modules);
  return await work();
}
