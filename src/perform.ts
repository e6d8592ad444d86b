import type { Effect, Event, Saga } from '#domain/saga.ts';
import type { GuestView } from '#domain/sight.ts';
import { attachmentOn, type LookWorld, look } from './look.ts';
import type { Mailbox } from './mailbox.ts';
import { did } from './step.ts';

export interface PerformWorld extends LookWorld {
  readonly createTimeoutMs: number;
  readonly pollMs: number;
}

/** An operation on its way: what it hears, and for how long it has been asked for, in ms. */
export interface Driven {
  readonly mailbox: Mailbox;
  readonly age: () => number;
  /** What was seen of the guest, if that is still good; a second time it is not. */
  readonly fresh: () => GuestView | null;
}

/** A wait for something that libvirt or a share is about to show. */
const SOON_MS = 200;

/** Does what a saga wants done next, and answers what came of it. */
export async function perform(
  world: PerformWorld,
  effect: Effect,
  saga: Saga,
  driven: Driven,
): Promise<Event> {
  const { mailbox } = driven;
  const { hypervisor, images } = world;
  const { volume, server } = saga.request;
  switch (effect.do) {
    case 'look':
      return seen(world, effect, saga, driven);
    case 'watch':
      return mailbox.next(effect.soon ? SOON_MS : world.pollMs);
    case 'mend':
      return did(
        await images.mend(effect.directory, effect.overlay, effect.backing, effect.format),
      );
    case 'snapshot':
      return did(await hypervisor.snapshot({ ...effect, volume, server }));
    case 'thaw':
      return did(await hypervisor.thaw({ ...effect, volume, server }));
    case 'merge':
      mailbox.expect(effect.target);
      return did(await hypervisor.merge({ ...effect, volume, server }));
    case 'commit-active':
      mailbox.expect(effect.target);
      return did(await hypervisor.commitActive({ ...effect, volume, server }));
    case 'pivot':
      return did(await hypervisor.pivot({ ...effect, volume, server }));
    case 'cancel':
      return did(await hypervisor.cancelCommit({ ...effect, volume, server }));
    case 'copy':
      return did(await images.copy(effect));
    case 'sync':
      return did(await images.sync(effect.directory, effect.file));
    case 'unchain':
      return did(await hypervisor.unchain({ ...effect, volume, server, process: null }));
    case 'flush':
      return did(await hypervisor.flush({ ...effect, volume, server }));
  }
}

async function seen(
  world: PerformWorld,
  effect: Extract<Effect, { do: 'look' }>,
  saga: Saga,
  { age, fresh }: Driven,
): Promise<Event> {
  const { volumes, createTimeoutMs } = world;
  const { volume, server, snapshot } = saga.request;
  let attachment: string | null = null;
  if (saga.at === 'waiting' || (saga.kind === 'undo' && effect.cinder)) {
    // It was accepted unseen: what Cinder believes is in use is compared now.
    const attached = await attachmentOn(volumes, { volume, server });
    if (!attached.ok) return { kind: 'blind', fault: attached.error };
    attachment = attached.value;
  }
  const sight = await look(world, {
    disk: { server, volume, ...(effect.settled && { settled: effect.settled }) },
    headers: effect.headers,
    newcomer: saga.kind === 'create' ? saga.request.newFile : null,
    snapshot: effect.cinder ? snapshot : null,
    attachment,
    fresh: fresh(),
    late: () => saga.kind === 'create' && age() > createTimeoutMs,
  });
  if (!sight.ok) return { kind: 'blind', fault: sight.error };
  return { kind: 'saw', sight: sight.value };
}
