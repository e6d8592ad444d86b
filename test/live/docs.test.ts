/**
 * The commands of docs/INSTALL.md, docs/UPGRADE.md and docs/RECOVERY.md, typed one after the other
 * on a host with a real libvirt and a stock Cinder; what the pages show is what is printed.
 */

import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { blocksIn, difference, filled, iniIn } from '../support/doc-blocks.ts';
import type { Cinder } from './lab/cinder.ts';
import { TOKEN } from './lab/cinder-client.ts';
import type { Guest } from './lab/guest.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { PrivateHost } from './lab/private-host.ts';
import { freePort, run } from './lab/processes.ts';

const KIB = 1024;
const read = (name: string) => readFileSync(join(import.meta.dirname, '../../docs', name), 'utf8');
const CONF = '/etc/chainkeeper/chainkeeper.conf';

/**
 * In the place of systemd's, which is no process of this machine: it starts what the unit starts,
 * in the folder that the unit makes, and `start` returns once it is ready.
 */
const systemctl = (dir: string) => `#!/bin/sh
pid=${dir}/chainkeeper.pid
case "$*" in
'restart libvirtd') ;;
'start chainkeeper' | 'enable --now chainkeeper')
  mkdir -p -m 750 /run/chainkeeper
  setsid chainkeeper serve > ${dir}/serve.log 2>&1 < /dev/null &
  echo $! > $pid
  until chainkeeper ops list > /dev/null 2>&1; do
    kill -0 "$(cat $pid)" || exit 1
    sleep 0.1
  done ;;
'stop chainkeeper')
  kill "$(cat $pid)"
  while kill -0 "$(cat $pid)" 2> /dev/null; do sleep 0.1; done ;;
*) exit 1 ;;
esac
`;

let lab: Lab<Cinder>;
let host: PrivateHost;
let guest: Guest;
const words: Record<string, string> = {};

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  const port = await freePort();
  await lab.cinder.setNovaEndpoint(`http://127.0.0.1:${port}/v2.1`);
  const commands = join(lab.dir, 'commands');
  await mkdir(commands);
  await symlink(join(process.cwd(), 'bin/chainkeeper.js'), join(commands, 'chainkeeper'));
  await writeFile(join(commands, 'systemctl'), systemctl(lab.dir), { mode: 0o755 });
  host = lab.keep(await PrivateHost.open(lab.dir, `${commands}:${dirname(process.execPath)}`));
  // The page's own configuration, with this lab's addresses.
  const [text = ''] = iniIn(read('INSTALL.md'), 'chainkeeper.conf');
  const [user = '', project = ''] = TOKEN.split(':');
  const ours = { 'http://127.0.0.1:8776': lab.cinder.endpoint, admin: user, [PROJECT]: project };
  await host.write(CONF, filled(text, ours).replace('[api]', `[api]\nbind_port = ${port}`));
  const it = await attachedGuest(lab, { persistent: true });
  guest = it.guest;
  Object.assign(words, { VOLUME: it.volumeId, GUEST: guest.name, SERVER: guest.uuid });
  words.SHARE = lab.cinder.mount;
});
afterAll(async () => {
  await host?.type('systemctl stop chainkeeper || true');
  await lab?.[Symbol.asyncDispose]();
});

const PROJECT = '0123456789abcdef0123456789abcdef';

async function snapshot(word: string): Promise<void> {
  await guest.write('vda', Object.keys(words).length * 64 * KIB, 64 * KIB, 0x21);
  const id = await lab.cinder.createSnapshot(words.VOLUME ?? '');
  await lab.cinder.waitSnapshot(id, 'available');
  words[word] = id;
}

/** What the pages have as having happened. */
const SCENES: Readonly<Record<string, () => Promise<unknown>>> = {
  'first-snapshot': () => snapshot('SNAPSHOT1'),
  /** It had a second one, and it is off. */
  'host-lost': async () => {
    await snapshot('SNAPSHOT2');
    await guest.destroy();
  },
  /** A pull of the older overlay into the newer, of which only the header came to the disk. */
  'merge-under-way': async () => {
    const base = `volume-${words.VOLUME}`;
    const top = join(lab.cinder.mount, `${base}.${words.SNAPSHOT2}`);
    await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', base, top]);
  },
  /** The guest is defined as it was before its snapshots. */
  'old-attachment': async () => {
    const [newest] = JSON.parse(await host.type('chainkeeper ops list -f json'));
    words.OPERATION = newest.id;
    const name = `volume-${words.VOLUME}`;
    const [chain] = /<disk type='file'[\s\S]*?<\/disk>/.exec(await guest.xml()) ?? [''];
    const disk = chain
      .replace(/<backingStore[\s\S]*<\/backingStore>\s*(?=<target)/, '')
      .replace(/type='qcow2'/, "type='raw'")
      .replace(`${name}.${words.SNAPSHOT2}`, name);
    await guest.define((await guest.xml()).replace(chain, disk));
  },
};

test.each(['INSTALL.md', 'UPGRADE.md', 'RECOVERY.md'])('docs/%s', async (page) => {
  onTestFailed(() => console.log(readFileSync(join(lab.dir, 'serve.log'), 'utf8').slice(-4000)));
  const blocks = blocksIn(read(page)).filter(({ where }) => where === 'lab');
  expect(blocks.length).toBeGreaterThan(2);
  for (const { more, line, commands } of blocks) {
    const scene = more === '' ? async () => {} : SCENES[more];
    await (scene ?? expect.unreachable(`line ${line}: no scene '${more}'`))();
    for (const { line: at, typed, output } of commands) {
      // Other tests have guests beside ours, and some of those are ill.
      const may = typed.startsWith('chainkeeper doctor') ? ' || test $? = 1' : '';
      const printed = await host.type(`{ ${filled(typed, words)}${may}; } 2>&1`);
      const shown = output.map((it) => filled(it, words));
      const told = `docs/${page}:${at}: shown is\n${shown.join('\n')}`;
      expect(difference(shown, printed), told).toBeNull();
    }
  }
});
