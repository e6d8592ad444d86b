import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { neighbours } from '#app/doctor-neighbours.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-neighbours-'));
const hooks = join(folder, 'qemu.d');
const hook = join(hooks, 'chainkeeper');
const novaConf = ['nova.conf', 'nova-compute.conf'].map((name) => join(folder, name));
const [conf = '', compute = ''] = novaConf;

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(hooks, { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CONTRIB = join(dirname(import.meta.dirname), 'contrib');
const GUARD = join(CONTRIB, 'libvirt/chainkeeper');
const STATE = '/var/lib/chainkeeper';

const seen = (name: string, statePath: string | null = STATE) =>
  neighbours(statePath, { hooks, novaConf }, () => STATE).find(({ check }) => check === name);

describe('the boot guard', () => {
  test('is there', () => {
    copyFileSync(GUARD, hook);
    expect(seen('boot guard')).toMatchObject({ status: 'ok' });
    expect(seen('boot guard', null)).toMatchObject({ status: 'ok' });
  });

  test('is the one of another edition', () => {
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o755 });
    expect(seen('boot guard')).toMatchObject({
      status: 'warning',
      saw: `${hook} is not the one of this chainkeeper: an older one?`,
      todo: expect.stringContaining(`install -D -m 755 ${GUARD} ${hook}`),
    });
  });

  test('reads the journal of another chainkeeper', () => {
    copyFileSync(GUARD, hook);
    expect(seen('boot guard', '/srv/ck')).toMatchObject({
      status: 'warning',
      saw: `it reads the journal in ${STATE}, and ours is in /srv/ck: guests start unasked`,
      todo: 'set [DEFAULT] state_path in /etc/chainkeeper/chainkeeper.conf to /srv/ck',
    });
  });

  test('is missed, and the command that installs it named', () => {
    const it = seen('boot guard');
    expect(it?.status).toBe('warning');
    expect(it?.saw).toBe(`${hook} is not there: a guest can be started on a file that it has left`);
    expect(it?.todo).toContain(`install -D -m 755 ${GUARD} ${hook}`);
    expect(it?.todo).toContain('systemctl restart libvirtd');
  });

  test('cannot be run', () => {
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o644 });
    expect(seen('boot guard')).toMatchObject({ status: 'warning' });
    expect(seen('boot guard')?.saw).toContain('cannot be run (EACCES)');
    expect(seen('boot guard')?.todo).toBe(`chmod 755 ${hook}; systemctl restart libvirtd`);
  });
});

test("installed as Debian's package, which puts all into its place", () => {
  const packaged = () => neighbours(STATE, { hooks, novaConf, contrib: folder }, () => STATE);
  writeFileSync(conf, '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n');
  const [guard, nova] = packaged();
  expect(guard).toMatchObject({ status: 'warning', saw: expect.stringContaining('is not there') });
  expect(guard?.todo).toMatch(/^apt-get install --reinstall .*--force-confmiss chainkeeper; /);
  expect(nova?.todo).toMatch(/^apt-get install chainkeeper-nova; sed -i /);
  writeFileSync(hook, '#!/bin/sh\n', { mode: 0o755 });
  expect(packaged()[0]).toMatchObject({ status: 'ok' });
});

describe('Nova on this host', () => {
  test('is not there, or is no hypervisor of ours, or has none', () => {
    expect(seen('nova')).toBeUndefined();
    writeFileSync(conf, '[DEFAULT]\ncompute_driver = fake.FakeDriver\n');
    expect(seen('nova')).toBeUndefined();
    writeFileSync(conf, '[libvirt]\ncompute_driver = libvirt.LibvirtDriver\n');
    expect(seen('nova')).toBeUndefined();
  });

  test('leaves snapshots to us', () => {
    writeFileSync(conf, '[DEFAULT]\ncompute_driver = chainkeeper.LibvirtDriver\n');
    expect(seen('nova')).toMatchObject({ status: 'ok' });
  });

  test('serves them as well, by what is said last', () => {
    writeFileSync(conf, '[DEFAULT]\ncompute_driver = chainkeeper.LibvirtDriver\n');
    writeFileSync(compute, '[DEFAULT]\ncompute_driver=libvirt.LibvirtDriver\n');
    expect(seen('nova')).toMatchObject({ status: 'warning' });
    expect(seen('nova')?.saw).toContain(`${compute}: compute_driver is libvirt.LibvirtDriver`);
    const [put = '', edit = '', restart] = seen('nova')?.todo.split('; ') ?? [];
    expect(put).toContain(`install -m 644 ${join(CONTRIB, 'nova/chainkeeper.py')} /usr/lib/`);
    expect(restart).toBe('systemctl restart nova-compute');
    execFileSync('/bin/sh', ['-c', edit]);
    expect(seen('nova')).toMatchObject({ status: 'ok' });
  });

  test('cannot be looked at', () => {
    mkdirSync(conf);
    expect(seen('nova')).toMatchObject({ status: 'warning' });
    expect(seen('nova')?.saw).toBe(`${conf} cannot be read (EISDIR)`);
  });
});
