import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { Order, Side } from './cycle.ts';
import type { HttpCinder } from './http-cinder.ts';
import { filesOf } from './ours.ts';
import type { Phases } from './phases.ts';
import type { Taken } from './trace.ts';
import { within } from './within.ts';

/** Whoever answers Nova's API: from Cinder's request to the update that Cinder has accepted. */
export class Remote implements Side, AsyncDisposable {
  readonly name: 'http' | 'nova' | 'nova+ours';
  readonly #url: string;
  readonly #cinder: HttpCinder;
  readonly #agent = new Agent({ connections: null, headersTimeout: 60_000 });
  readonly #restMs: number;
  readonly #phases: Phases | null;

  /** `restMs`: what it does after that takes about so long. `phases`: of its journal. */
  constructor(
    name: Remote['name'],
    url: string,
    cinder: HttpCinder,
    restMs: number,
    phases: Phases | null = null,
  ) {
    this.name = name;
    this.#url = `${url}/os-assisted-volume-snapshots`;
    this.#cinder = cinder;
    this.#restMs = restMs;
    this.#phases = phases;
  }

  async prepare(order: Order): Promise<() => Promise<Taken>> {
    const { snapshots } = this.#cinder;
    return async () => {
      const working = order.kind === 'create' ? 'creating' : 'deleting';
      const told = snapshots.expect(order.snapshot, order.volume, working);
      told.catch(() => {}); // heard below, where an answer may come first
      const spent = this.#cinder.spentMs;
      const began = performance.now();
      await this.#ask(order);
      const ms = (await within(told)) - began;
      const cinderMs = this.#cinder.spentMs - spent;
      const phases = (await this.#phases?.of(order.snapshot)) ?? {};
      return { ms, phases, calls: {}, cinderMs };
    };
  }

  async settle(): Promise<void> {
    await sleep(this.#restMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #ask(order: Order): Promise<void> {
    const { snapshot } = order;
    const volume = order.volume.id;
    const info =
      order.kind === 'create'
        ? { snapshot_id: snapshot, type: 'qcow2', new_file: order.file }
        : deleteInfo(order);
    const created = JSON.stringify({ snapshot: { volume_id: volume, create_info: info } });
    const query = encodeURIComponent(JSON.stringify({ volume_id: volume, ...info }));
    const { statusCode, body } =
      order.kind === 'create'
        ? await request(this.#url, {
            method: 'POST',
            body: created,
            headers: { 'Content-Type': 'application/json' },
            dispatcher: this.#agent,
          })
        : await request(`${this.#url}/${snapshot}?delete_info=${query}`, {
            method: 'DELETE',
            dispatcher: this.#agent,
          });
    const text = await body.text();
    if (statusCode > 204) throw new Error(`${this.name}: ${statusCode} ${text}`);
  }
}

function deleteInfo(order: Extract<Order, { kind: 'delete' }>) {
  const { fileToMerge, mergeTarget } = filesOf(order);
  return { type: 'qcow2', file_to_merge: fileToMerge, merge_target_file: mergeTarget };
}
