/**
 * Cinder gives a create up after the overlay is in use (H5, H6, H9 of the hazards): it goes on from
 * the old file, and the next start would attach that one, without what the guest wrote since.
 */
import { expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import { createOverlay } from './lab/images.ts';
import { waitFor } from './lab/processes.ts';
import { askCreate } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
/** The guard taken away: whoever looks after a create never sees that Cinder gave it up. */
const blind = wrapped(TOKEN.aftercare, (made) => {
  void made.stop();
  return made;
});

/** A create that Cinder gives up once the guest writes to the overlay. */
async function story(undone: boolean) {
  const { volume, base, path, ...it } = await stage.guestOnRaw();
  await using guest = it.guest;
  volumes.believe(volume, base);
  const id = volumes.put(volume, 'creating');
  const file = `${base}.${id}`;
  await createOverlay(path(file), { name: base, format: 'raw' });
  expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
  expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
  await guest.write('vda', 64 * KIB, 512 * KIB, 0x21);
  volumes.put(volume, 'error', id);
  const active = async () => (await guest.tops()).vda?.path === path(base);
  if (undone) {
    await waitFor('the old file to be in use again', active, { timeoutMs: 60_000 });
  } else await new Promise((resolve) => setTimeout(resolve, 15_000));
  await guest.write('vda', 2 * MIB, 64 * KIB, 0x32);
  await guest.flush('vda');
  const before = await guest.hash('vda');
  await guest.kill9();
  // As Nova starts it: from the file that Cinder believes in.
  await guest.startFromTopOnly({ vda: { path: path(base), format: 'raw' } });
  return { whole: (await guest.hash('vda')) === before };
}

test('the guest is on the old file again, with all that it wrote', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  expect(await story(true)).toEqual({ whole: true });
});

test('without that the next start loses what was written since', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder, blind);
  expect(await story(false)).toEqual({ whole: false });
});
