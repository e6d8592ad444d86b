/**
 * `chainkeeper doctor`, typed as an operator types it, on a host that is well and on the same host
 * with five faults at once; and what it says to type is typed. build/doctor-*.txt is what it said.
 */
import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cinder } from './lab/cinder.ts';
import type { Guest } from './lab/guest.ts';
import { createOverlay } from './lab/images.ts';
import { type AttachedGuest, attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { virsh } from './lab/libvirt.ts';
import { PrivateHost } from './lab/private-host.ts';
import { waitFor } from './lab/processes.ts';
import { type Place, place, Served, tellOnFailure } from './service.ts';

const KIB = 1024;
const BUILD = join(import.meta.dirname, '../../build');
const HOOK = '/etc/libvirt/hooks/qemu.d/chainkeeper';
const CONF = '/etc/chainkeeper/chainkeeper.conf';
const NOVA_CONF = '/etc/nova/nova-compute.conf';
const NOVA_VIRT = '/usr/lib/python3/dist-packages/nova/virt/';

interface Row {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'error';
  readonly saw: string;
  readonly do: string;
}

let lab: Lab<Cinder>;
let at: Place;
let etc: PrivateHost;
let commands: string;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint);
  await lab.cinder.setNovaEndpoint(at.url);
  commands = join(lab.dir, 'commands');
  await mkdir(commands);
  await symlink(join(process.cwd(), 'bin/chainkeeper.js'), join(commands, 'chainkeeper'));
  // No systemd here: what would be restarted is noted.
  const noted = `#!/bin/sh\necho "$@" >> ${commands}/restarted\n`;
  await writeFile(join(commands, 'systemctl'), noted, { mode: 0o755 });
  etc = lab.keep(await PrivateHost.open(lab.dir, `${commands}:${dirname(process.execPath)}`));
  await etc.write(CONF, await readFile(at.conf, 'utf8'));
  await etc.write(NOVA_CONF, '[DEFAULT]\ncompute_driver = chainkeeper.LibvirtDriver\n');
  await etc.type(`install -D -m 755 contrib/libvirt/chainkeeper ${HOOK}`);
});
afterAll(() => lab?.[Symbol.asyncDispose]());

/** As a person has it, kept for people; and as a program has it. */
async function doctor(name?: string): Promise<{ readonly code: number; readonly rows: Row[] }> {
  const text = await etc.type('chainkeeper doctor; echo "exit code $?"');
  if (name !== undefined) {
    await mkdir(BUILD, { recursive: true });
    await writeFile(join(BUILD, `doctor-${name}.txt`), `$ chainkeeper doctor\n${text}`);
  }
  const rows = await etc.type('chainkeeper doctor -f json || true');
  return { code: Number(/exit code (\d+)\n$/.exec(text)?.[1]), rows: JSON.parse(rows) };
}

const about = (rows: readonly Row[], ...names: string[]) =>
  rows.filter(({ check }) => names.includes(check));
/** What is wrong with the host and with what is ours: other tests have ill guests beside us. */
const wrong = (rows: readonly Row[]) =>
  rows.filter(({ check, status }) => status !== 'ok' && !isOfOthers(check));
const isOfOthers = (check: string) =>
  /^(volume|directory) /.test(check) && ![...ours].some((it) => check.endsWith(` ${it}`));
const ours = new Set<string>();
/** 0 when nobody is beside us. */
const codeOf = (rows: readonly Row[]) => (rows.some(({ status }) => status === 'error') ? 1 : 0);
const only = (rows: readonly Row[], check: string) => {
  const [row, ...more] = about(rows, check);
  expect(more, check).toEqual([]);
  return row ?? expect.unreachable(`no row ${check}`);
};

/** A volume with a snapshot, and what its guest has written since. */
async function snapshotted(): Promise<AttachedGuest & { active: string; hash: string }> {
  const it = await attachedGuest(lab, { persistent: true });
  await it.guest.write('vda', 0, 256 * KIB, 0x10);
  await snapshot(it.volumeId);
  await it.guest.write('vda', 512 * KIB, 64 * KIB, 0x21);
  ours.add(it.volumeId).add(lab.cinder.mount);
  return { ...it, active: await topOf(it.guest), hash: await it.guest.hash('vda') };
}

async function snapshot(volume: string): Promise<void> {
  const id = await lab.cinder.createSnapshot(volume);
  await lab.cinder.waitSnapshot(id, 'available');
}

const topOf = async (guest: Guest) => (await guest.tops()).vda?.path ?? '';

/** The backing name in the header is cut short, as somebody's hand or a broken disk would. */
async function cutName(path: string): Promise<void> {
  const file = await open(path, 'r+');
  const length = Buffer.alloc(4);
  await file.read(length, 0, 4, 16);
  length.writeUInt32BE(length.readUInt32BE() - 1);
  await file.write(length, 0, 4, 16);
  await file.close();
}

test('a host that is well, then five faults at once, then as told', async () => {
  tellOnFailure(at, lab.cinder);
  await using served = new Served(at);
  await served.start();
  const lied = await snapshotted();
  const drifted = await snapshotted();
  const volumes = [lied, drifted].map(({ volumeId }) => `volume ${volumeId}`);
  const [lie = '', drift = ''] = volumes;

  const well = await doctor('healthy');
  expect(wrong(well.rows)).toEqual([]);
  expect(well.code).toBe(codeOf(well.rows));
  const checks = well.rows.map(({ check }) => check);
  for (const name of ['service', 'journal', 'boot guard', 'nova', 'cinder', ...volumes]) {
    expect(checks).toContain(name);
  }

  // 1. A header that names another file than the guest has open.
  await cutName(lied.active);
  // 2. An overlay that Cinder does not know.
  const stranger = `${drifted.attached.path}.stranger`;
  const name = drifted.active.split('/').at(-1) ?? '';
  await createOverlay(stranger, { name, format: 'qcow2' });
  const flags = ['--disk-only', '--no-metadata', '--reuse-external', '--atomic'];
  const spec = `vda,snapshot=external,file=${stranger}`;
  await virsh('snapshot-create-as', drifted.guest.name, ...flags, '--diskspec', spec);
  await drifted.guest.write('vda', 640 * KIB, 64 * KIB, 0x43);
  const written = await drifted.guest.hash('vda');
  // 3. The boot guard was copied, and cannot be run.
  await etc.type(`chmod -x ${HOOK}`);
  // 4. Nova's own driver serves the same volumes: Debian's file, as nova-compute-kvm has it.
  await etc.write(
    NOVA_CONF,
    '[DEFAULT]\ncompute_driver=libvirt.LibvirtDriver\n[libvirt]\nvirt_type=kvm\n',
  );
  // 5. The address of Cinder, without its version.
  const conf = await readFile(at.conf, 'utf8');
  await etc.write(CONF, conf.replace(/^(endpoint = .*)\/v3$/m, '$1'));

  const ill = await doctor('faults');
  expect(ill.code).toBe(1);
  const names = ['config', 'boot guard', 'nova', 'cinder', ...volumes];
  expect(wrong(ill.rows).filter(({ check }) => !names.includes(check))).toEqual([]);
  const lieRow = only(ill.rows, lie);
  expect(lieRow).toMatchObject({ status: 'error', saw: expect.stringMatching(/^header-lies: /) });
  const [driftRow] = about(ill.rows, drift);
  expect(driftRow?.saw).toMatch(/^active-behind: /);
  const guard = only(ill.rows, 'boot guard');
  expect(guard).toMatchObject({ status: 'warning', saw: expect.stringContaining('EACCES') });
  const nova = only(ill.rows, 'nova');
  expect(nova).toMatchObject({ status: 'warning', saw: expect.stringContaining('as well') });
  const cinder = only(ill.rows, 'cinder');
  expect(cinder.status).toBe('error');
  expect(about(ill.rows, 'config').map(({ status }) => status)).toEqual(['ok', 'warning']);

  await etc.type(guard.do);
  // Beside Nova's modules is no place for a test to write.
  await etc.type(nova.do.replace(NOVA_VIRT, `${commands}/`));
  const told = /set \[cinder\] endpoint to (\S+), and/.exec(cinder.do)?.[1];
  await etc.write(CONF, conf.replace(/^endpoint = .*$/m, `endpoint = ${told}`));
  await served.stop();
  await served.start();
  await etc.type(driftRow?.do ?? '');
  expect(await drifted.guest.hash('vda')).toBe(written);
  expect(lieRow.do).toContain(`virsh shutdown ${lied.guest.uuid}`);
  // There is no system in the guest that would hear it.
  await lied.guest.destroy();
  const off = only((await doctor()).rows, lie);
  await etc.type(off.do.slice(off.do.indexOf('qemu-img rebase')));
  await lied.guest.startFromTopOnly();
  expect(await lied.guest.hash('vda')).toBe(lied.hash);

  const mended = await doctor('mended');
  expect(wrong(mended.rows)).toEqual([]);
  expect(mended.code).toBe(codeOf(mended.rows));
  expect((await readFile(join(commands, 'restarted'), 'utf8')).split('\n')).toEqual([
    'restart libvirtd',
    'restart nova-compute',
    '',
  ]);
  for (const { volumeId } of [lied, drifted]) await snapshot(volumeId);
  expect(wrong((await doctor()).rows)).toEqual([]);
});

test('root is told to look with the eyes of the service, which may open less', async () => {
  const theirs = await place(join(lab.dir, 'theirs'), lab.cinder.endpoint);
  tellOnFailure(theirs, lab.cinder);
  await etc.write(CONF, await readFile(theirs.conf, 'utf8'));
  await chown(theirs.dir, 65534, 65534);
  await chmod(theirs.conf, 0o644);
  // As the package makes it: in the group of libvirt's socket.
  await etc.type("sed -i 's/^\\(libvirt:.*\\)$/\\1nobody/' /etc/group");
  const { gid } = await groupOf('libvirt');
  const serve = ['bin/chainkeeper.js', 'serve', '--config-file', theirs.conf];
  const as = ['--reuid=65534', '--regid=65534', `--groups=${gid}`, process.execPath, ...serve];
  const child = spawn('setpriv', as, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const answers = () => fetch(`http://127.0.0.1:${theirs.port}/healthcheck`);
    await waitFor('chainkeeper to answer', async () => (await answers()).ok);
    await lab.cinder.setNovaEndpoint(theirs.url);
    const { guest, active } = await snapshotted();
    await using _guest = guest;
    const folder = `directory ${lab.cinder.mount}`;
    // Whatever root may, who is squashed on a share may not.
    await chmod(active, 0o600);
    const root = await doctor();
    const user = only(root.rows, 'user');
    expect(user).toMatchObject({
      status: 'warning',
      do: 'runuser -u nobody -- chainkeeper doctor',
    });
    expect(only(root.rows, folder).status).toBe('ok');
    const typed = async () => JSON.parse(await etc.type(`${user.do} -f json || true`));
    expect(only(await typed(), folder)).toMatchObject({
      status: 'error',
      do: `id; ls -ln ${lab.cinder.mount}: run as a user, or in a group, that may read them`,
    });
    await chmod(active, 0o644);
    expect(only(await typed(), folder).status).toBe('ok');
    expect(about(await typed(), 'user')).toEqual([]);
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});

async function groupOf(name: string): Promise<{ readonly gid: string }> {
  const line = (await readFile('/etc/group', 'utf8')).match(new RegExp(`^${name}:x:(\\d+):`, 'm'));
  return { gid: line?.[1] ?? '' };
}
