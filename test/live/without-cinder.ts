/** For live tests that are about libvirt: real guests, a service, and a Cinder of a few lines. */
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import { type Lab, openLab } from './lab/lab.ts';
import { RememberedVolumes } from './remembered-volumes.ts';
import { type Place, place } from './service.ts';

/** Nobody listens there: whoever asks a real Cinder after all gets no answer. */
const NO_CINDER = 'http://127.0.0.1:9';

/**
 * What a file of such tests shares: opened before the first of them, closed after the last.
 * `more` goes into the service's configuration file.
 */
export function stageWithoutCinder(more = '') {
  const volumes = new RememberedVolumes();
  const withoutCinder = wrapped(TOKEN.volumes, () => volumes);
  let opened: { readonly lab: Lab<null>; readonly at: Place } | null = null;
  beforeAll(async () => {
    const lab = await openLab({ cinder: false });
    opened = { lab, at: await place(join(lab.dir, 'chainkeeper'), NO_CINDER, more) };
  });
  afterAll(() => opened?.lab[Symbol.asyncDispose]());
  const stage = () => opened ?? notYet();
  return {
    volumes,
    withoutCinder,
    get lab() {
      return stage().lab;
    },
    get at() {
      return stage().at;
    },
  };
}

function notYet(): never {
  throw new Error('the lab is opened before the first test');
}
