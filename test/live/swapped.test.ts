/**
 * Somebody has their hands on the overlay while it is made the active layer: puts another file in
 * its place, so that QEMU has the one open that was checked and the next start opens the other (law
 * 24), or writes its header anew, so that the next start takes a raw file for qcow2 (law 6).
 */
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { headerAt } from '#adapters/images/images.ts';
import { type Hexagon, TOKEN, wrapped } from '#app/composition.ts';
import { type FileName, QCOW2 } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { repoint } from '#domain/qcow2-writing.ts';
import { ok, type Result } from '#domain/result.ts';
import type { Operation } from '#ports/journal.ts';
import { instead } from './instead.ts';
import { createOverlay } from './lab/images.ts';
import { askCreate } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;

/** The guard taken away: a header says nothing of the file that it was read from. */
const unnumbered = wrapped(TOKEN.images, (made) =>
  instead(made, {
    header: async (directory, file) => {
      const read = await made.header(directory, file);
      if (!read.ok || !read.value.ok) return read;
      const { inode: _, ...header } = read.value.value;
      return ok(ok(header));
    },
  }),
);

/** Another overlay with the same header takes the name, right after the switch. */
const swapping = meddled((path) => rename(`${path}.other`, path));

/** The header calls the raw file below qcow2, right after the switch. */
const relabelling = meddled(async (path) => {
  await using file = await open(path, 'r+');
  const page = new Uint8Array(65_536);
  await file.read(page, 0, page.length, 0);
  const { backingFile } = present(parseHeader(page, (await file.stat()).size));
  const anew = repoint(page, backingFile as FileName, QCOW2);
  await file.write(anew ?? expect.unreachable(), 0, anew?.length, 0);
});

function meddled(then: (path: string) => Promise<unknown>) {
  return wrapped(TOKEN.hypervisor, (made) =>
    instead(made, {
      snapshot: async (order) => {
        const answer = await made.snapshot(order);
        await then(join(order.directory, order.file));
        return answer;
      },
    }),
  );
}

const present = <T, E>(it: Result<T, E>): T => (it.ok ? it.value : expect.unreachable());

async function story({ runner }: Hexagon) {
  const { volume, base, path, ...it } = await stage.guestOnRaw();
  await using guest = it.guest;
  volumes.believe(volume, base);
  const id = volumes.put(volume, 'creating');
  const file = `${base}.${id}`;
  for (const name of [file, `${file}.other`]) {
    await createOverlay(path(name), { name: base, format: 'raw' });
  }
  const end = Promise.withResolvers<Operation>();
  runner.whenEnded((operation) => {
    if (operation.saga.request.snapshot === id) end.resolve(operation);
  });
  expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
  const { saga } = await end.promise;
  await guest.write('vda', 64 * KIB, 512 * KIB, 0x21);
  await guest.flush('vda');
  const before = await guest.hash('vda');
  await guest.kill9();
  await guest.startFromTopOnly({ vda: { path: path(file), format: 'qcow2' } });
  const whole = (await guest.hash('vda')) === before;
  const header = present(present(await headerAt(path(file))));
  const { outcome, reason } = saga.at === 'end' ? saga : expect.unreachable();
  const told = volumes.verdict(id)?.kind ?? null;
  return { outcome, reason, told, whole, below: header.backingFormat };
}

test('a create is not called done when the next start would open another file', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder, swapping);
  expect(await story(service)).toEqual({
    outcome: 'unknown',
    reason: 'another file has its name',
    told: null,
    whole: false,
    below: 'raw',
  });
});

test('without that Cinder goes on from a file that the guest never wrote to', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder, swapping, unnumbered);
  expect(await story(service)).toMatchObject({ outcome: 'created', told: 'created', whole: false });
});

test('a header that calls the file below something else is healed first', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder, relabelling);
  expect(await story(service)).toMatchObject({ outcome: 'created', below: 'raw', whole: true });
});
