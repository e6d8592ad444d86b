/** Debian's Chromium, driven over its debugging protocol; nothing is downloaded for it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const EXECUTABLE = '/usr/bin/chromium';
/** Screenshots are made anew by each run, and are for people: no test compares them. */
const PICTURES = join(import.meta.dirname, '../../../build/page');

/** What a page has complained of: errors, and whatever its own policy has stopped. */
export interface Watched {
  readonly page: Page;
  readonly complaints: string[];
}

/** A browser of its own, with nothing remembered. */
export class LabBrowser implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async open(): Promise<LabBrowser> {
    mkdirSync(PICTURES, { recursive: true });
    // Its sandbox wants user namespaces, which root in a container may not have.
    const args = ['--no-sandbox', '--disable-gpu'];
    return new LabBrowser(await chromium.launch({ executablePath: EXECUTABLE, args }));
  }

  /** A new window: no other one shares anything with it. */
  async show(url: string, options: BrowserContextOptions = {}): Promise<Watched> {
    const viewport = { width: 1360, height: 900 };
    const context = await this.#browser.newContext({ viewport, ...options });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (line) => {
      if (line.type() === 'error' || line.type() === 'warning') complaints.push(line.text());
    });
    page.on('pageerror', ({ message }) => complaints.push(message));
    await page.goto(url);
    return { page, complaints };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

export const picture = (page: Page, name: string): Promise<Buffer> =>
  page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
