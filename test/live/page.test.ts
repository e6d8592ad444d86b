/**
 * The operator's page in a real browser: what it says of a host that is well, that merges, that has
 * drifted, that went away; by the keyboard alone, and without its script.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { QCOW2, RAW } from '#domain/ids.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import { LabBrowser, picture, type Watched } from './lab/browser.ts';
import { freePort, waitFor } from './lab/processes.ts';

const PATIENCE = { timeout: 30_000 };

let browser: LabBrowser;
beforeAll(async () => {
  browser = await LabBrowser.open();
});
afterAll(() => browser[Symbol.asyncDispose]());

const open = async () =>
  SimulatedHost.open({ port: 0, pagePort: await freePort(), clusters: 140, clustersPerTick: 1 });

const answers = (page: Page) => page.locator('#answers strong').allTextContents();

async function becomes<T>(read: () => Promise<T>, wanted: T): Promise<void> {
  await expect.poll(read, { ...PATIENCE, interval: 100 }).toEqual(wanted);
}

/** Sets a mark that a reload would lose. */
const mark = (page: Page) =>
  page.evaluate(() => {
    Object.assign(globalThis, { stays: true });
  });
const isMarked = (page: Page) => page.evaluate(() => Object.hasOwn(globalThis, 'stays'));

/** Two snapshots of the volume, of which the older one's delete is a commit of some 15 s. */
async function merging(host: SimulatedHost): Promise<() => Promise<unknown>> {
  const { cloud } = host;
  for (let at = 0; at < 8; at++) cloud.disk.write(at, 1);
  const first = await cloud.cinder.createSnapshot(cloud.volume);
  for (let at = 0; at < 8; at++) cloud.disk.write(at, 2);
  await cloud.cinder.createSnapshot(cloud.volume);
  return () => cloud.cinder.deleteSnapshot(first.snapshot);
}

test('a host that is well', async () => {
  await using host = await open();
  const { page, complaints } = await browser.show(host.page);
  await becomes(() => answers(page), ['Nothing needs you', 'Nothing runs', '2 volumes agree']);
  await becomes(() => page.locator('#live').textContent(), 'Live');
  expect(await page.title()).toContain('All well');
  await picture(page, 'idle');
  const dark = await browser.show(host.page, { colorScheme: 'dark' });
  await picture(dark.page, 'idle-dark');
  expect([...complaints, ...dark.complaints]).toEqual([]);
});

test('a merge moves without a reload, and its end is there by itself', async () => {
  await using host = await open();
  const remove = await merging(host);
  const { page, complaints } = await browser.show(host.page);
  await becomes(() => answers(page), ['Nothing needs you', 'Nothing runs', '2 volumes agree']);
  await mark(page);
  const removed = remove();
  const bar = page.locator('#running progress');
  await bar.waitFor(PATIENCE);
  const percent = async () => Number(await bar.getAttribute('value'));
  const far = async () => Number(await bar.evaluate((it) => Reflect.get(it, 'value')));
  await expect.poll(far, PATIENCE).toBeGreaterThan(2);
  const before = await far();
  await expect.poll(far, PATIENCE).toBeGreaterThan(before + 5);
  expect(await percent()).toBeGreaterThan(before);
  await expect
    .poll(() => page.locator('#running [data-left]').textContent(), PATIENCE)
    .toMatch(/^\d+ s left$/);
  expect(await page.locator('#running [data-rate]').textContent()).toMatch(/^\d+ KiB\/s$/);
  expect(await page.locator('#answers [data-longest]').textContent()).toMatch(/^\d+ s left$/);
  expect(await page.locator('#running .going').textContent()).toContain('goes down into');
  await picture(page, 'merging');
  await removed;
  await becomes(() => answers(page), ['Nothing needs you', 'Nothing runs', '2 volumes agree']);
  expect(await page.locator('#ended tbody tr').first().textContent()).toContain('merged');
  await becomes(
    () =>
      page
        .locator('#said')
        .textContent()
        .then((it) => it?.slice(-6)),
    'merged',
  );
  expect(await page.locator('#chains .layer').count()).toBe(3);
  expect(await isMarked(page)).toBe(true);
  await page.locator('#ended tbody a').first().click();
  await page.getByRole('heading', { name: 'The story' }).waitFor(PATIENCE);
  expect(await page.locator('main').textContent()).toMatch(/req-[0-9a-f-]{36}/);
  await picture(page, 'story');
  expect(complaints).toEqual([]);
}, 180_000);

test('a volume that has drifted, down to the layer and the next step', async () => {
  await using host = await open();
  host.cloud.addGuest([RAW, QCOW2], 40);
  const ill = host.cloud.disks.at(-1)!;
  await host.cloud.cinder.createSnapshot(ill.volume);
  host.cloud.cinder.attachments.get(ill.attachment)!.name = ill.disk.xml.on!.file;
  const { page, complaints } = await browser.show(host.page);
  await becomes(() => answers(page), ['1 thing needs you', 'Nothing runs', '3 of 4 volumes agree']);
  expect(await page.locator('#needs .need').textContent()).toContain('do not restart the guest');
  await picture(page, 'drifted');
  await page.locator('#needs').getByRole('link').first().click();
  await page.getByRole('heading', { level: 1, name: ill.volume }).waitFor(PATIENCE);
  const rows = page.getByRole('table', { name: /layers by each witness/ }).locator('tbody tr');
  expect(await rows.count()).toBe(2);
  expect(await rows.first().textContent()).toContain('ACTIVE');
  expect(await rows.last().textContent()).toContain('guest writes here');
  await picture(page, 'drifted-chain');
  expect(complaints).toEqual([]);
});

test('a service that goes away is said to be away, and then what went on', async () => {
  await using host = await open();
  const remove = await merging(host);
  const { page } = await browser.show(host.page);
  await becomes(() => page.locator('#live').textContent(), 'Live');
  await mark(page);
  const streams: (string | undefined)[] = [];
  page.on('request', (request) => {
    if (!request.url().endsWith('/v1/events')) return;
    void request.allHeaders().then((headers) => streams.push(headers['last-event-id']));
  });
  const removed = remove();
  await page.locator('#running progress').waitFor(PATIENCE);
  await host.crash();
  await page.getByText(/^Connection lost: this is as of \d\d:\d\d:\d\d/).waitFor(PATIENCE);
  await picture(page, 'lost');
  await host.boot();
  await becomes(() => page.locator('#live').textContent(), 'Live');
  expect(streams.at(-1)).toMatch(/^\d+$/);
  await removed;
  await becomes(() => answers(page), ['Nothing needs you', 'Nothing runs', '2 volumes agree']);
  expect(await isMarked(page)).toBe(true);
}, 180_000);

test('a tab that nobody sees asks for nothing, and is true again once it is seen', async () => {
  await using host = await open();
  const { page } = await browser.show(host.page);
  await becomes(() => page.locator('#live').textContent(), 'Live');
  const turn = (state: 'hidden' | 'visible') =>
    page.evaluate((value) => {
      const { document, Event } = globalThis as unknown as {
        document: { dispatchEvent: (event: unknown) => void };
        Event: new (name: string) => unknown;
      };
      Object.defineProperty(document, 'visibilityState', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
  await turn('hidden');
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  await host.cloud.cinder.createSnapshot(host.cloud.volume);
  await sleep(2000);
  expect(asked).toEqual([]);
  expect(await page.locator('#chains .layer').count()).toBe(2);
  await turn('visible');
  await becomes(() => page.locator('#chains .layer').count(), 3);
});

test('what others have named is text', async () => {
  await using host = await open();
  const attack = '<img src=x onerror="pwned=1"><script>pwned=1</script>';
  const guest = host.cloud.addGuest([RAW], 8);
  Object.assign(guest, { name: attack });
  const { page, complaints } = await browser.show(host.page);
  await page.getByText(attack).waitFor(PATIENCE);
  expect(await page.locator('main img, main script').count()).toBe(0);
  await page.goto(`${host.page}?find=${encodeURIComponent(`"><script>pwned=1</script>`)}`);
  await page.goto(`${host.page}chains/${encodeURIComponent(attack)}`);
  await page.getByRole('heading', { name: 'Not to be seen' }).waitFor(PATIENCE);
  expect(await page.evaluate(() => Object.hasOwn(globalThis, 'pwned'))).toBe(false);
  expect(complaints.filter((it) => !it.includes('404'))).toEqual([]);
});

test('the policy stops what got in all the same', async () => {
  await using host = await open();
  const { page, complaints } = await browser.show(host.page);
  await page.locator('main').evaluate((main) => {
    const at = main as unknown as { innerHTML: string };
    at.innerHTML = '<img src="http://127.0.0.1:9/x"><p id="it" onclick="pwned=1">it</p>';
  });
  await page.locator('#it').click();
  expect(await page.evaluate(() => Object.hasOwn(globalThis, 'pwned'))).toBe(false);
  expect(complaints.join('\n')).toMatch(/img-src[\s\S]*script-src|script-src[\s\S]*img-src/);
});

describe('by the keyboard alone', () => {
  interface Focus {
    readonly name: string;
    readonly outline: string;
    readonly inView: boolean;
  }
  const focused = (page: Page): Promise<Focus> =>
    page.locator(':focus').evaluate((it) => {
      const { getComputedStyle, innerWidth } = globalThis as unknown as {
        getComputedStyle: (it: unknown) => { outlineStyle: string };
        innerWidth: number;
      };
      const at = it as unknown as {
        id: string;
        textContent: string;
        getBoundingClientRect: () => { left: number; right: number; width: number };
        getAttribute: (name: string) => string | null;
      };
      const { left, width } = at.getBoundingClientRect();
      return {
        name: at.getAttribute('aria-label') ?? (at.id || at.textContent.trim()),
        outline: getComputedStyle(it).outlineStyle,
        inView: width > 0 && left >= 0 && left < innerWidth,
      };
    });

  test('everything is reached in its order, is seen to be, and does what it says', async () => {
    await using host = await open();
    host.cloud.addGuest([RAW], 40);
    const ill = host.cloud.disks.at(-1)!;
    await host.cloud.cinder.createSnapshot(ill.volume);
    host.cloud.cinder.attachments.get(ill.attachment)!.name = ill.disk.xml.on!.file;
    const { page } = await browser.show(host.page);
    await becomes(() => answers(page).then(([it]) => it), '1 thing needs you');
    await becomes(() => page.locator('#live').textContent(), 'Live');
    const names: string[] = [];
    for (;;) {
      await page.keyboard.press('Tab');
      if ((await page.locator(':focus').count()) === 0) break;
      const { name, outline, inView } = await focused(page);
      expect([name, outline !== 'none', inView]).toEqual([name, true, true]);
      names.push(name);
      if (names.length > 200) throw new Error('the focus goes round for ever');
    }
    const wanted = await page
      .locator('a[href], input:visible, summary, [tabindex="0"]')
      .evaluateAll((all) =>
        all.map((it) => {
          const { id, textContent } = it as unknown as { id: string; textContent: string };
          const label = (it as unknown as Element).getAttribute('aria-label');
          return label ?? (id || textContent.trim());
        }),
      );
    expect(names).toEqual(wanted);
    expect(names.slice(0, 4)).toEqual([
      'Skip to the content',
      'Overview',
      'Operations',
      'Find a volume, guest or file',
    ]);
    await page.reload();
    await page.keyboard.press('Tab');
    await picture(page, 'keyboard');
    await page.keyboard.press('Enter');
    expect((await focused(page)).name).toBe('main');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(page.url()).toMatch(/#needs$/);
    await page.locator('#needs a').first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: ill.volume }).waitFor(PATIENCE);
    await page.locator('#find').fill('instance-00000001');
    await page.keyboard.press('Enter');
    await page.waitForURL(/find=instance-00000001/);
    await page.getByText('2 volumes with “instance-00000001” in them').waitFor(PATIENCE);
  });

  test('the focus stays where it is while the page changes under it', async () => {
    await using host = await open();
    const { page } = await browser.show(host.page);
    await becomes(() => page.locator('#live').textContent(), 'Live');
    const link = page.locator('#chains tbody a').last();
    await link.focus();
    const name = await link.textContent();
    await host.cloud.cinder.createSnapshot(host.cloud.volume);
    await page.getByText('ACTIVE, snapshot').first().waitFor(PATIENCE);
    expect(await page.locator(':focus').textContent()).toBe(name);
  });
});

interface Element {
  getAttribute(name: string): string | null;
}

test('without its script the same is there, as of the load', async () => {
  await using host = await open();
  const removed = (await merging(host))();
  const shown = async (): Promise<Watched> => browser.show(host.page, { javaScriptEnabled: false });
  await waitFor('the merge to be on the page', async () => {
    const { page } = await shown();
    const text = await page.locator('#running').textContent();
    await page.context().close();
    return / s left/.test(text ?? '');
  });
  const { page, complaints } = await shown();
  const text = ((await page.locator('body').textContent()) ?? '').replace(/\s+/g, ' ');
  expect(text).toMatch(/1 operation runs .*(\d+ s|min.*) left/);
  expect(text).toMatch(/\d+% \d+(\.\d)? KiB\/s/);
  expect(text).toContain('As of the last load. Reload');
  expect(await page.locator('#find').isVisible()).toBe(false);
  const table = page.locator('#chains table');
  expect(await table.locator('th[scope="col"]').count()).toBe(9);
  expect(await table.locator('tbody tr').count()).toBe(2);
  await picture(page, 'without-script');
  await page.getByRole('link', { name: 'All operations' }).click();
  await page.getByRole('heading', { level: 1, name: 'Operations' }).waitFor(PATIENCE);
  expect(complaints).toEqual([]);
  await removed;
}, 180_000);

test('for who hears it, and on a small screen', async () => {
  await using host = await open();
  await host.cloud.cinder.createSnapshot(host.cloud.volume);
  const phone = { viewport: { width: 390, height: 844 } };
  for (const path of ['', 'operations', `chains/${host.cloud.volume}`]) {
    const { page } = await browser.show(`${host.page}${path}`, phone);
    const width = await page.evaluate(() => {
      const { document } = globalThis as unknown as {
        document: { documentElement: { scrollWidth: number } };
      };
      return document.documentElement.scrollWidth;
    });
    expect([path, width]).toEqual([path, 390]);
    await picture(page, `phone-${path.split('/')[0] || 'overview'}`);
    expect(await page.getByRole('main').count()).toBe(1);
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
    expect(await page.getByRole('banner').count()).toBe(1);
    expect(await page.getByRole('contentinfo').count()).toBe(1);
    for (const table of await page.getByRole('table').all()) {
      expect(await table.getByRole('columnheader').count()).toBeGreaterThan(1);
    }
    for (const region of await page.locator('[role="region"]').all()) {
      expect(await region.getAttribute('tabindex')).toBe('0');
    }
    await page.context().close();
  }
});

test('the address of a page that is not there', async () => {
  await using host = await open();
  const { page } = await browser.show(`${host.page}operations/${randomUUID()}`);
  await page.getByRole('heading', { name: 'Not here' }).waitFor(PATIENCE);
});
