import { expect, test } from 'vitest';
import { filesOf } from '#domain/chain.ts';
import { type FileName, QCOW2, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import type { DiskView } from '#domain/sight.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';

/** One running guest with one raw disk on a network, of a protocol that has named files. */
export interface RemoteLab extends AsyncDisposable {
  readonly hypervisor: Hypervisor;
  readonly images: Images;
  readonly server: ServerId;
  readonly volume: VolumeId;
  readonly base: FileName;
  readonly size: number;
  /** Makes an empty overlay of the disk's size beside it, that calls its backing file raw. */
  overlay(name: string, backing: FileName): Promise<FileName>;
  /** The guest is stopped in good order. */
  stop(): Promise<void>;
}

/** What is believed of network disks beyond what holds of all; nova/virt/libvirt/driver.py. */
export function remoteContract(name: string, open: () => Promise<RemoteLab>, timeout = 60_000) {
  test(`${name}: a remote file is read and written through QEMU, and not locked`, {
    timeout,
  }, async () => {
    await using lab = await open();
    const { hypervisor, images, server, volume, base, size } = lab;
    const before = await seen(lab);
    expect(before).toMatchObject({ source: { kind: 'remote' }, size, stray: null, job: null });
    const file = await lab.overlay('a', base);
    const { source, target, process } = before;
    if (source.kind === 'other') expect.unreachable();
    const { directory } = source;
    const says = { backingFile: base, backingFormat: RAW, size };
    expect(await images.header(directory, file)).toMatchObject({
      value: { ok: true, value: says },
    });
    const missing = await images.header(directory, 'nothing' as FileName);
    expect(missing).toMatchObject({ value: { ok: false, error: { kind: 'missing' } } });

    const disk = { server, volume, target, process };
    const order = { ...disk, directory, file, active: base };
    expect(await hypervisor.snapshot(order)).toMatchObject({ ok: true });
    const after = await seen(lab);
    expect(after).toMatchObject({ source, size, stray: null, process });
    expect(after.chain).toMatchObject({ file, format: QCOW2, on: { file: base, format: RAW } });
    // Of a file of this host QEMU's image lock refuses it: a remote one is open, and is written.
    expect(await images.mend(directory, file, base, QCOW2)).toMatchObject({ ok: true });
    const lies = { ...says, backingFormat: QCOW2 };
    expect(await images.header(directory, file)).toMatchObject({ value: { value: lies } });
    expect(await images.mend(directory, file, base, RAW)).toMatchObject({ ok: true });

    await lab.stop();
    const off = await seen(lab);
    expect(off).toMatchObject({ source, size: null, process: null });
    const next = await lab.overlay('b', file);
    const again = { ...order, process: null, file: next, active: file };
    const refused = await hypervisor.snapshot(again);
    expect(refused).toMatchObject({ ok: false, error: { kind: 'rejected', code: OFF } });
    expect(filesOf((await seen(lab)).chain)).toEqual(filesOf(off.chain));
  });
}

/** VIR_ERR_INTERNAL_ERROR. */
const OFF = 1;

async function seen({ hypervisor, server, volume }: RemoteLab): Promise<DiskView> {
  const view = await hypervisor.look({ server, volume });
  if (!view.ok || view.value.kind !== 'disk') throw new Error(JSON.stringify(view));
  return view.value;
}
