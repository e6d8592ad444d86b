import { setTimeout as sleep } from 'node:timers/promises';
import type { Libvirt } from './ffi.ts';

/** How long a stop waits until it says so again: one that comes before the loop runs is lost. */
const AGAIN_MS = 20;

/** How long a round lasts that nothing ends. */
const ROUND_MS = 500;

/**
 * libvirt's event loop, which also answers the keepalive pings of idle lanes: it has a thread of
 * libuv's pool to itself, and JavaScript has no part in its rounds. A callback waits there until
 * the main thread has run it. So the main thread must not wait for that thread: whatever may is
 * called on another one. A worker in its place took 17 MB (docs/PERFORMANCE.md).
 */
export interface EventLoop {
  /** Resolves when the thread is free again. */
  stop(): Promise<void>;
}

/** One at a time in a process. `main` is null of a libvirt that has a loop of its own. */
export function eventLoop(lib: Libvirt, main = lib.mainLoop): EventLoop {
  return main === null ? rounds(lib) : wholeLoop(main);
}

function wholeLoop(main: NonNullable<Libvirt['mainLoop']>): EventLoop {
  const loop = main.make();
  let running = true;
  const ended = main.run(loop).then(() => {
    running = false;
  });
  return {
    async stop() {
      while (running) {
        main.quit(loop);
        await Promise.race([ended, sleep(AGAIN_MS)]);
      }
      main.free(loop);
    },
  };
}

/** Of a libvirt before 6.1 nobody else can turn the loop. */
function rounds(lib: Libvirt): EventLoop {
  let over = false;
  const ticker = lib.addTicker(ROUND_MS);
  const turn = async () => {
    while (!over) if ((await lib.runRound()) < 0) await sleep(ROUND_MS);
    lib.removeTicker(ticker);
    // libvirt frees what was removed in the round after; nobody waits for more than that.
    const last = lib.addTicker(0);
    await lib.runRound();
    lib.removeTicker(last);
  };
  const ended = turn();
  return {
    stop() {
      over = true;
      return ended;
    },
  };
}
