import type { SimGuest } from '../guest.ts';
import { add, type Count, emptyCount, judge } from './points.ts';
import { SEALED, type Tale } from './tales.ts';
import type { Teller } from './teller.ts';
import { type Telling, telling } from './telling.ts';

/** What loses its memory. */
export const VICTIMS = ['QEMU', 'QEMU and the service'] as const;
/** When the guest is started again: before anybody looks, soon, or once whoever looks has done. */
export const BACK_MS = [0, 4_000, 100_000] as const;
/** The last of them: then no guard is missed. */
const LOOKED_AFTER_MS = 100_000;

export interface Cut {
  readonly nth: number;
  readonly victim: (typeof VICTIMS)[number];
  readonly backMs: number;
}

/**
 * Why a user may have to ask again after QEMU was killed: nobody answered; the volume is encrypted
 * and the guest was off; the overlay could not be switched to any more; or the merge was given up
 * because the QEMU that did it was gone.
 */
const MAY_FAIL = new RegExp(
  [
    '^connection (refused|reset by peer)',
    '^refused: {"kind":"encrypted-and-off",.* \\(the guest is down\\)$',
    '^Nova returned "error" status while creating snapshot\\.',
    '^Unable to delete snapshot \\S+, status: error_deleting\\.',
  ].join('|'),
);
/** Of an encrypted volume also this: only a guest that runs can tell. */
const SEALED_MAY_FAIL = new RegExp(`${MAY_FAIL.source}|^Timed out while waiting for Nova update`);

/** Tells a tale, cutting off the guest's QEMU at the n-th moment; answers how many there were. */
export async function cutting(
  tale: Tale,
  cut: Cut | null,
  recording = false,
): Promise<{ readonly it: Telling; readonly moments: number; readonly did: boolean }> {
  let moments = 0;
  let did = false;
  const it = await telling(
    tale,
    {},
    {
      recording,
      plan: (teller) => {
        const moment = () => {
          if (teller.world.swarm.quiet || moments++ !== cut?.nth) return;
          did = off(teller, teller.disk.guest, cut);
        };
        // A moment between any two things that happen: before a call, after it, and at each tick.
        teller.world.watchers.push({ calling: moment, reached: moment, moment });
      },
    },
  );
  return { it, moments, did };
}

function off(teller: Teller, guest: SimGuest, { victim, backMs }: Cut): boolean {
  const { world, guests } = teller;
  if (guest.process === null) return false;
  guests.end(guest, 'killed');
  teller.guestIsDown = true;
  if (victim !== 'QEMU') world.life.end();
  void world.clock.sleep(backMs).then(() => {
    guests.start(guest);
    teller.guestIsDown = false;
  });
  return true;
}

/** Law 2, at every moment of a tale: what was flushed is there, and the end is the same. */
export async function cutOff(
  tale: Tale,
  nths: (moments: number) => readonly number[],
): Promise<Count & { readonly moments: number }> {
  const whole = await cutting(tale, null);
  const wanted = unread(whole.it.ending);
  const count = emptyCount();
  for (const nth of nths(whole.moments)) {
    for (const victim of VICTIMS) {
      for (const backMs of BACK_MS) {
        const { it, did } = await cutting(tale, { nth, victim, backMs });
        if (!did) continue;
        const name = `${tale.name}, ${victim} killed at moment ${nth}, back after ${backMs} ms`;
        const mayFail = tale.given === SEALED ? SEALED_MAY_FAIL : MAY_FAIL;
        const verdict = judge({ ...it, ending: unread(it.ending) }, wanted, mayFail);
        const early = verdict.kind !== 'expected' || backMs < LOOKED_AFTER_MS;
        add(count, name, early ? verdict : { kind: 'red', why: `missed: ${verdict.guards}` });
      }
    }
  }
  return { ...count, moments: whole.moments };
}

/** What the guest had not flushed may be gone: what it reads is for the laws 1 and 2 to judge. */
const unread = (ending: string): string => ending.replace(/"reads": \[[^\]]*\]/, '"reads": …');
