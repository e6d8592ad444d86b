/** What we hand to other services has unit tests of its own, in their language and their style. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const CINDER = '/usr/lib/python3/dist-packages/cinder';
const FOLDER = join(import.meta.dirname, '../../contrib/cinder');

// Of Debian's packages; test:live installs them.
test.skipIf(!existsSync(CINDER) || !existsSync('/usr/bin/qemu-img'))(
  'contrib/cinder, on the Cinder of this machine',
  { timeout: 240_000 },
  async () => {
    const args = ['-B', '-m', 'unittest', 'discover', '-s', FOLDER];
    const { stderr } = await promisify(execFile)('/usr/bin/python3', args);
    expect(stderr).toMatch(/^Ran \d{2,} tests/m);
  },
);
