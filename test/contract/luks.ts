import { expect, test } from 'vitest';
import { filesOf, type Layer } from '#domain/chain.ts';
import type { VolumeKey } from '#domain/encryption.ts';
import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import { codeOf, type HypervisorLab, mergeOrder, seen, snapshotOrder } from './hypervisor.ts';

/** A lab whose `volume` is encrypted, with LUKS; so are its overlays. */
export interface LuksLab extends HypervisorLab {
  /** What libvirt calls the passphrase of `volume`. */
  readonly key: VolumeKey;
  /** libvirt forgets the passphrase, as a libvirtd does that is restarted. */
  forgetSecret(): Promise<void>;
}

type Open = (base: Format) => Promise<LuksLab>;

/** Of encrypted volumes: qcow2 with LUKS inside, and LUKS alone, which libvirt calls raw. */
export function luksContract(name: string, open: Open): void {
  for (const base of [QCOW2, RAW]) {
    const law = (what: string, check: (lab: LuksLab) => Promise<void>) =>
      test(`${name}, encrypted ${base}: ${what}`, async () => {
        await using lab = await open(base);
        await check(lab);
      });
    snapshotLaws(law);
    undoLaws(law);
    startLaws(law);
  }
}

type Law = (what: string, check: (lab: LuksLab) => Promise<void>) => void;

function snapshotLaws(law: Law): void {
  law('each layer has the key that it was opened with', async (lab) => {
    await lab.write(1, 0x11);
    const bytes = await lab.hash();
    await over(lab, 'a.qcow2');
    const { keys, chain, size } = await seen(lab);
    const key = { format: 'luks', engine: 'qemu', secret: lab.key.secret };
    const files = ['a.qcow2', lab.base];
    expect(keys).toEqual(files.map((file) => ({ file, ...key })));
    expect(chain).toMatchObject({ format: QCOW2, on: { format: lab.baseFormat } });
    expect(size).toBe((await seen(lab, lab.other)).size);
    expect(await lab.hash()).toBe(bytes);
  });

  law('an overlay is not opened without its key, or with a secret nobody has', async (lab) => {
    const order = await snapshotOrder(lab, 'a.qcow2');
    const before = await seen(lab);
    expect(codeOf(await lab.hypervisor.snapshot(order))).toBe(1);
    const secret = '00000000-0000-4000-8000-00000000dead';
    const key = { ...lab.key, secret };
    expect(codeOf(await lab.hypervisor.snapshot({ ...order, key }))).toBe(66);
    await lab.forgetSecret();
    expect(codeOf(await lab.hypervisor.snapshot({ ...order, key: lab.key }))).toBe(66);
    expect(await seen(lab)).toEqual(before);
  });

  law('a merge onto the base needs no secret, and raw is luks to QEMU', async (lab) => {
    await chainOf(lab);
    await lab.forgetSecret();
    const bytes = await lab.hash();
    const merge = await mergeOrder(lab, { kind: 'pull', onto: lab.base });
    expect(await lab.hypervisor.merge(merge)).toEqual(OK);
    await lab.idle();
    const { chain, keys } = await seen(lab);
    expect(filesOf(chain)).toEqual(['b.qcow2', lab.base]);
    expect(chain.on?.format).toBe(lab.baseFormat);
    expect(keys.map(({ file }) => file)).toEqual(['b.qcow2', lab.base]);
    const format = lab.baseFormat === RAW ? 'luks' : 'qcow2';
    expect(await lab.headerOf('b.qcow2' as FileName)).toEqual({ backing: lab.base, format });
    expect(await lab.hash()).toBe(bytes);
  });
}

/** The way back of a create that Cinder gave up. */
function undoLaws(law: Law): void {
  law('an active commit and its pivot need no secret', async (lab) => {
    await chainOf(lab);
    await lab.forgetSecret();
    await undone(lab);
  });

  law('a guest that was switched back starts as it is configured', async (lab) => {
    await chainOf(lab);
    await undone(lab);
    const bytes = await lab.hash();
    await lab.stop();
    await lab.startAsConfigured();
    expect(await lab.hash()).toBe(bytes);
    expect((await seen(lab)).keys).toHaveLength(2);
  });
}

/** `b` is committed into `a`, and the guest writes to that. */
async function undone(lab: LuksLab): Promise<void> {
  const bytes = await lab.hash();
  const { target, process, chain } = await seen(lab);
  const where = { server: lab.server, volume: lab.volume, target, process };
  const order = { ...where, chain: filesOf(chain) };
  expect(await lab.hypervisor.commitActive(order)).toEqual(OK);
  await lab.ready();
  expect(await lab.hypervisor.pivot(order)).toEqual(OK);
  await lab.idle();
  const back = await seen(lab);
  expect(filesOf(back.chain)).toEqual(['a.qcow2', lab.base]);
  expect(back.keys.map(({ file }) => file)).toEqual(['a.qcow2', lab.base]);
  expect(await lab.hash()).toBe(bytes);
}

function startLaws(law: Law): void {
  law('no guest starts from the headers of encrypted layers', async (lab) => {
    await chainOf(lab);
    const bytes = await lab.hash();
    await lab.stop();
    await lab.startAsConfigured();
    expect(await lab.hash()).toBe(bytes);
    await lab.stop();
    await expect(lab.start()).rejects.toThrow('virStorageEncryptionEngine');
  });

  law('a guest that is off can be told the layers below, with their key', async (lab) => {
    await chainOf(lab);
    const bytes = await lab.hash();
    await lab.stop();
    const { target, chain } = await seen(lab);
    const order = { server: lab.server, volume: lab.volume, target, process: null };
    expect(await lab.hypervisor.unchain(order)).toEqual(OK);
    expect(filesOf((await seen(lab)).chain)).toEqual(['b.qcow2']);
    const base = layer(lab.base, lab.baseFormat, null);
    const whole = layer('b.qcow2', QCOW2, layer('a.qcow2', QCOW2, base));
    const instead = { directory: lab.directory, chain: whole, key: lab.key };
    const other = { ...instead, chain: { ...whole, file: 'c.qcow2' as FileName } };
    const refused = await lab.hypervisor.unchain({ ...order, instead: other });
    expect(codeOf(refused)).toBe('changed');
    for (const _ of 'twice')
      expect(await lab.hypervisor.unchain({ ...order, instead })).toEqual(OK);
    expect(filesOf((await seen(lab)).chain)).toEqual(filesOf(chain));
    expect((await seen(lab)).keys).toHaveLength(3);
    await lab.startAsConfigured();
    expect(await lab.hash()).toBe(bytes);
  });

  law('a snapshot of a guest that is off leaves it unable to start', async (lab) => {
    await lab.stop();
    await over(lab, 'a.qcow2');
    expect(filesOf((await seen(lab)).chain)).toEqual(['a.qcow2']);
    await expect(lab.startAsConfigured()).rejects.toThrow('virStorageEncryptionEngine');
  });
}

const layer = (file: string, format: Format, on: Layer | null): Layer => {
  return { file: file as FileName, format, provenance: 'reported', on };
};

/** An overlay with LUKS inside becomes the active layer. */
async function over(lab: LuksLab, name: string): Promise<void> {
  const order = await snapshotOrder(lab, name);
  expect(await lab.hypervisor.snapshot({ ...order, key: lab.key })).toEqual(OK);
}

/** `b on a on base`, each with something of its own. */
async function chainOf(lab: LuksLab): Promise<void> {
  await lab.write(0, 0x10);
  await over(lab, 'a.qcow2');
  await lab.write(1, 0x21);
  await over(lab, 'b.qcow2');
  await lab.write(2, 0x32);
}

const OK = { ok: true, value: null };
