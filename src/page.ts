import type { Next, Saga } from '#domain/saga.ts';

export type Written = Pick<Next<Saga>, 'saga' | 'evidence' | 'tell'>;

/** Steps that are written down together: the state of the last, and what all of them found. */
export class Page {
  #put: { readonly from: Saga; readonly step: Written } | null = null;

  /** A step that begins in `from`. */
  put(from: Saga, step: Written): void {
    const evidence = [...(this.#put?.step.evidence ?? []), ...step.evidence];
    this.#put = { from, step: { ...step, evidence } };
  }

  take(): { readonly from: Saga; readonly step: Written } | null {
    const put = this.#put;
    this.#put = null;
    return put;
  }
}
