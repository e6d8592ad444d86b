import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

const seen = (name: string) => neighbours({ hooks, novaConf }).find(({ check }) => check === name);

describe('the boot guard', () => {
  test('is there', () => {
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o755 });
    expect(seen('boot guard')).toMatchObject({ status: 'ok' });
  });

  test('is missed, and the command that installs it named', () => {
    const it = seen('boot guard');
    expect(it?.status).toBe('warning');
    expect(it?.saw).toBe(`${hook} is not there: a guest can be started on a file that it has left`);
    expect(it?.todo).toContain(`install -D -m 755 contrib/libvirt/chainkeeper ${hook}`);
    expect(it?.todo).toContain('systemctl restart libvirtd');
  });

  test('cannot be run', () => {
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o644 });
    expect(seen('boot guard')).toMatchObject({ status: 'warning' });
    expect(seen('boot guard')?.saw).toContain('cannot be run (EACCES)');
  });
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
    expect(seen('nova')?.todo).toContain('compute_driver = chainkeeper.LibvirtDriver');
  });

  test('cannot be looked at', () => {
    mkdirSync(conf);
    expect(seen('nova')).toMatchObject({ status: 'warning' });
    expect(seen('nova')?.saw).toBe(`${conf} cannot be read (EISDIR)`);
  });
});
