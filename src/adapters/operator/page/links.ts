import type { OperationId, VolumeId } from '#domain/ids.ts';
import { type Html, html } from './html.ts';
import { name, short } from './words.ts';

/** Every address on the page is made here: under /ui/, whatever an id says. */

export const chainPath = (volume: VolumeId): string => `/ui/chains/${encodeURIComponent(volume)}`;
export const operationPath = (id: OperationId): string =>
  `/ui/operations/${encodeURIComponent(id)}`;

export const volumeLink = (volume: VolumeId): Html =>
  html`<a href="${chainPath(volume)}">${name(volume)}</a>`;
export const operationLink = (id: OperationId, words: string = short(id)): Html =>
  html`<a href="${operationPath(id)}" title="${id}">${words}</a>`;
