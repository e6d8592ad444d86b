import { setTimeout as sleep } from 'node:timers/promises';
import type { Libvirt, Pointer } from './ffi.ts';

/** How long a stop waits until it says so again: one that comes before the loop runs is lost. */
const AGAIN_MS = 20;

/**
 * libvirt's event loop, which also answers the keepalive pings of idle lanes: it has a thread of
 * libuv's pool to itself, and JavaScript has no part in its rounds. A callback waits there until
 * the main thread has run it. So the main thread must not wait for that thread: whatever may is
 * called on another one. A worker in its place took 17 MB (docs/PERFORMANCE.md).
 */
export class EventLoop {
  readonly #lib: Libvirt;
  readonly #loop: Pointer;
  readonly #ended: Promise<void>;
  #running = true;

  /** One at a time in a process. */
  constructor(lib: Libvirt) {
    this.#lib = lib;
    this.#loop = lib.newMainLoop(null, 0);
    this.#ended = lib.runMainLoop(this.#loop).then(() => {
      this.#running = false;
    });
  }

  /** Resolves when the thread is free again. */
  async stop(): Promise<void> {
    while (this.#running) {
      this.#lib.quitMainLoop(this.#loop);
      await Promise.race([this.#ended, sleep(AGAIN_MS)]);
    }
    this.#lib.freeMainLoop(this.#loop);
  }
}
