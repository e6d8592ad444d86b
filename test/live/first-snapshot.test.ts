/**
 * The Debian package, on a Debian that has nothing else: what README.md says of the way to the
 * first snapshot is typed there, command by command, and then the package is looked at and removed
 * again. Only Cinder, which the README takes for granted, is the lab's.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Cinder, startCinder } from './lab/cinder.ts';
import { PROJECT } from './lab/cinder-conf.ts';
import { CleanDebian } from './lab/clean-debian.ts';
import { ensurePackages } from './lab/packages.ts';
import { OWN_ID, removeFolder, run } from './lab/processes.ts';
import { LAB_FOLDER } from './lab/sweep.ts';

const root = join(import.meta.dirname, '../..');
const build = join(root, 'build');
const steps = walk(readFileSync(join(root, 'README.md'), 'utf8'));
/** What the README's commands have found out, as a shell would keep it. */
const known: Record<string, string> = {};
const transcript: string[] = [];

let dir: string;
let cinder: Cinder;
let debian: CleanDebian;
let began = 0;

beforeAll(async () => {
  await ensurePackages({ cinder: true, clean: true });
  dir = await mkdtemp(join(tmpdir(), `${LAB_FOLDER}${OWN_ID}-`));
  await run('chmod', ['755', dir]);
  mkdirSync(join(dir, 'cinder/share'), { recursive: true });
  const started = await Promise.allSettled([
    startCinder({ dir: join(dir, 'cinder'), novaEndpoint: steps.novaEndpoint, apiPort: 8776 }),
    CleanDebian.start({
      dir: join(dir, 'clean'),
      mounts: { [join(dir, 'cinder/share')]: '/mnt/volumes' },
    }),
    run(process.execPath, [join(root, 'scripts/deb.mjs')], { timeoutMs: 300_000 }),
  ]);
  const [first, second, third] = started;
  if (first.status === 'fulfilled') cinder = first.value;
  if (second.status === 'fulfilled') debian = second.value;
  for (const it of [first, second, third]) if (it.status === 'rejected') throw it.reason;
  for (const deb of readdirSync(build).filter((it) => /^chainkeeper_.*\.deb$/.test(it))) {
    copyFileSync(join(build, deb), join(debian.root, 'root', deb));
  }
  began = Date.now();
}, 600_000);

afterAll(async () => {
  writeFileSync(join(build, 'first-snapshot.log'), transcript.join('\n'));
  await Promise.allSettled([debian?.[Symbol.asyncDispose](), cinder?.[Symbol.asyncDispose]()]);
  await removeFolder(dir);
}, 120_000);

test('the README goes from the package to a snapshot in two minutes', async () => {
  const [install, configure, volume, guest, snapshot, look, ...more] = steps.blocks;
  expect(more).toEqual([]);

  await typed(install);
  const before = 'systemctl is-enabled chainkeeper; systemctl is-active chainkeeper';
  expect((await debian.run(before)).text).toBe('disabled\ninactive\n');

  const checks = await typed(configure);
  expect(checks).not.toMatch(/\| (error|odd|warning) /);
  await typed(volume);
  await typed(guest);
  await typed(snapshot);
  const shown = await typed(look);

  const seconds = Math.round((Date.now() - began) / 1000);
  transcript.push(`# from the package to the first snapshot: ${seconds} s`);
  expect(shown).toMatch(/create +\|.*\b(done|created)\b/);
  const show = `chainkeeper chain show ${known.VOLUME} -f json 2>/dev/null`;
  const { layers, findings } = JSON.parse(await debian.must(show));
  expect(layers.map((it: { format: string }) => it.format)).toEqual(['raw', 'qcow2']);
  expect(findings).toEqual([]);
}, 600_000);

test('systemd accepts the unit, and finds it well confined', async () => {
  const verify = 'systemd-analyze verify --man=no --recursive-errors=no chainkeeper.service';
  expect(await debian.must(verify)).toBe('');
  const security = await debian.must('systemd-analyze security --no-pager chainkeeper.service');
  const [, exposure = ''] = /Overall exposure level.*?: ([\d.]+)/.exec(security) ?? [];
  expect(Number(exposure)).toBeLessThanOrEqual(1.8);
  const facts = await debian.must('systemctl show chainkeeper -p User,Type,StatusText,NRestarts');
  expect(facts.trim().split('\n').toSorted()).toEqual([
    'NRestarts=0',
    expect.stringMatching(/^StatusText=\d+ operations open, 0 merging$/),
    'Type=notify',
    'User=chainkeeper',
  ]);
});

test('it brings what it says, and all of it runs', async () => {
  expect(await debian.must('chainkeeper --version')).toBe('0.1.0\n');
  expect(await debian.must('dpkg --verify chainkeeper')).toBe('');
  expect(await debian.must(`stat -c '%a %U %G' /etc/chainkeeper/chainkeeper.conf`)).toBe(
    '640 root chainkeeper\n',
  );
  const files = await debian.must('dpkg -L chainkeeper');
  for (const file of [
    '/etc/libvirt/hooks/qemu.d/chainkeeper',
    '/usr/share/man/man1/chainkeeper.1.gz',
    '/usr/share/man/man5/chainkeeper.conf.5.gz',
    '/usr/share/bash-completion/completions/chainkeeper',
    '/usr/share/doc/chainkeeper/examples/policy.yaml',
    '/usr/share/doc/chainkeeper/examples/prometheus/chainkeeper.rules.yml',
  ]) {
    expect(files.split('\n')).toContain(file);
  }
  const page = join(debian.root, 'usr/share/man/man1/chainkeeper.1.gz');
  const manual = spawnSync('man', ['-l', page], {
    encoding: 'utf8',
    env: { ...process.env, MANPAGER: 'cat' },
  });
  expect(manual.stdout).toMatch(/^NAME\n +chainkeeper/m);

  // A file that was left out of a package shows when that is loaded, and not before.
  writeFileSync(join(debian.root, 'usr/lib/chainkeeper/every.mjs'), EVERY_PACKAGE);
  const loaded = await debian.must('/usr/lib/chainkeeper/node /usr/lib/chainkeeper/every.mjs');
  expect(Number(loaded)).toBeGreaterThan(60);
  await debian.must('rm /usr/lib/chainkeeper/every.mjs');
});

const EVERY_PACKAGE = `
import { readdirSync, readFileSync } from 'node:fs';
const at = (...parts) => ['/usr/lib/chainkeeper/node_modules', ...parts].join('/');
const names = readdirSync(at()).flatMap((it) =>
  it.startsWith('@') ? readdirSync(at(it)).map((name) => it + '/' + name) : [it]);
for (const name of names) {
  await import(name).catch((error) => {
    // One has only parts with names of their own.
    if (error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
  });
}
console.log(names.length);
`;

test('the Python for Nova and Cinder is in packages of its own', async () => {
  const holds = (name: string) => run('dpkg-deb', ['-c', join(build, name)]);
  const python = './usr/lib/python3/dist-packages';
  expect(await holds('chainkeeper-nova_0.1.0-1_all.deb')).toContain(
    `${python}/nova/virt/chainkeeper.py`,
  );
  const cinders = await holds('chainkeeper-cinder_0.1.0-1_all.deb');
  expect(cinders).toContain(`${python}/chainkeeper_nfs.py`);
  expect(cinders).toContain(`${python}/chainkeeper_api.py`);
});

test('it joins the groups of a service that comes later, and then reads its files', async () => {
  const overlay = `/mnt/volumes/volume-${known.VOLUME}.of-cinder`;
  await debian.must(`qemu-img create -q -f qcow2 ${overlay} 1M
    chown 64061:64061 ${overlay}; chmod 660 ${overlay}`);
  const look = `runuser -u chainkeeper -- chainkeeper header --no-backing ${overlay}`;
  expect((await debian.run(look)).text).toContain('EACCES');
  await debian.must(`groupadd --system --gid 64061 cinder
    dpkg-trigger --by-package=dpkg /usr/bin/cinder-manage
    dpkg --configure --pending`);
  expect(await debian.must('id -nG chainkeeper')).toMatch(/^chainkeeper .*\blibvirt\b.*\bcinder\b/);
  expect((await debian.run(look)).code).toBe(0);
  await debian.must(`rm ${overlay}`);
});

test('an upgrade restarts what runs, and starts nothing that was stopped', async () => {
  const pid = 'systemctl show chainkeeper -p MainPID --value';
  const upgrade = 'apt-get install -y -qq --reinstall ./chainkeeper_*.deb >&2';
  const first = await debian.must(pid);
  await debian.must(`echo '# mine' >> /etc/chainkeeper/chainkeeper.conf; ${upgrade}`);
  const second = await debian.must(pid);
  expect(Number(second)).toBeGreaterThan(0);
  expect(second).not.toBe(first);
  expect(await debian.must('tail -n 1 /etc/chainkeeper/chainkeeper.conf')).toBe('# mine\n');

  await debian.must(`systemctl disable --now chainkeeper; ${upgrade}`);
  expect((await debian.run('systemctl is-enabled chainkeeper')).text).toBe('disabled\n');
  expect((await debian.run('systemctl is-active chainkeeper')).text).toBe('inactive\n');
  await debian.must('systemctl enable --now chainkeeper');
});

test('neither its removal nor its purge takes the journal', async () => {
  const there = async (file: string) => (await debian.run(`test -e ${file}`)).code === 0;
  await debian.must('apt-get remove -y -qq chainkeeper');
  expect((await debian.run('pgrep -u chainkeeper')).code).toBe(1);
  expect(await there('/lib/systemd/system/chainkeeper.service')).toBe(false);
  expect(await there('/usr/lib/chainkeeper')).toBe(false);
  expect(await there('/var/lib/chainkeeper/journal.sqlite')).toBe(true);
  // The guest was left on its overlay, and first.xml names the file below: the guard still knows.
  await debian.must('virsh destroy first');
  const refused = await debian.run('virsh define first.xml; virsh start first');
  expect(refused.text).toMatch(/is to start on \S+, but the guest wrote to/);
  expect(refused.code).not.toBe(0);

  const purged = await debian.must('apt-get purge -y chainkeeper');
  expect(purged).toContain('the journal is kept: /var/lib/chainkeeper');
  expect(await there('/etc/chainkeeper/chainkeeper.conf')).toBe(false);
  expect(await there('/etc/libvirt/hooks/qemu.d/chainkeeper')).toBe(false);
  expect(await there('/etc/systemd/system/multi-user.target.wants/chainkeeper.service')).toBe(
    false,
  );
  expect(await there('/var/log/chainkeeper')).toBe(false);
  expect(await there('/var/lib/chainkeeper/journal.sqlite')).toBe(true);
});

interface Block {
  readonly where: 'host' | 'cinder';
  readonly script: string;
}

/** The commands of the README's section, and the endpoint that it gives to Cinder. */
function walk(readme: string): {
  readonly blocks: readonly Block[];
  readonly novaEndpoint: string;
} {
  const [, section = ''] = /^## From a clean Debian.*?\n([\s\S]*?)^## /m.exec(readme) ?? [];
  const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(
    ([, script = '']): Block => {
      return {
        where: script.startsWith('# where the command cinder is') ? 'cinder' : 'host',
        script,
      };
    },
  );
  const [, novaEndpoint = ''] = /\[nova\]\nauth_type = none\nendpoint = (\S+)/.exec(section) ?? [];
  return { blocks, novaEndpoint };
}

/** Types a block where it belongs, up to the first command that fails; keeps the variables. */
async function typed(block: Block | undefined): Promise<string> {
  if (block === undefined) throw new Error('the README has too few blocks');
  const { where, script } = block;
  const from = Date.now();
  const tell = `echo "${MARK}"; declare -p SERVER VOLUME 2>/dev/null || true`;
  const whole = `set -e -o pipefail\n${script}\n${tell}`;
  const said = where === 'host' ? await debian.must(whole, known) : await atCinder(whole);
  const [shown = '', variables = ''] = said.split(`${MARK}\n`);
  for (const [, name = '', value = ''] of variables.matchAll(/ (\w+)="(.*)"/g)) known[name] = value;
  const took = ((Date.now() - from) / 1000).toFixed(1);
  transcript.push(`$ ${script.trimEnd()}\n${shown}# ${took} s\n`);
  return shown;
}
const MARK = '=== and then';

/** The command `cinder` of this machine, as one who has his credentials in the environment. */
function atCinder(script: string): Promise<string> {
  const url = 'http://127.0.0.1:8776/v3';
  const who = { OS_USER_ID: 'admin', OS_PROJECT_ID: PROJECT, OS_AUTH_TYPE: 'noauth' };
  // The client has the first three for itself, its plugin the others.
  const where = { OS_AUTH_URL: url, CINDER_ENDPOINT: `${url}/${PROJECT}`, Cinder_ENDPOINT: url };
  const plugin = { Cinder_USER_ID: 'admin', Cinder_PROJECT_ID: PROJECT };
  const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', ...who, ...where, ...plugin, ...known };
  return run('/bin/bash', ['--norc', '-c', `exec 2>&1\n${script}`], { env, timeoutMs: 180_000 });
}
