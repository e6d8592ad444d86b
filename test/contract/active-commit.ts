import { expect, test } from 'vitest';
import { filesOf } from '#domain/chain.ts';
import {
  chainOf,
  codeOf,
  type HypervisorLab,
  listen,
  named,
  type Open,
  orderFor,
  seen,
  written,
} from './hypervisor.ts';

/** Laws of the way back: the active layer is mirrored into the one below, and the guest follows. */
export function activeCommitLaws(name: string, open: Open): void {
  test(`${name}: an active commit says where it goes, and when it is there`, async () => {
    await using lab = await open();
    const { c, b, a, base } = await written(lab);
    const bytes = await lab.hash();
    expect(await lab.hypervisor.commitActive(await activeOrder(lab))).toEqual(OK);
    await lab.ready();
    const { job, chain } = await seen(lab);
    expect(job).toMatchObject({ kind: 'active-commit', mirror: { into: b, ready: true } });
    expect(filesOf(chain)).toEqual([c, b, a, base]);
    expect(await lab.hash()).toBe(bytes);
    await lab.cancel();
  });

  test(`${name}: a pivot leaves the guest what it had on one file less`, async () => {
    await using lab = await open();
    const { b, a, base } = await written(lab);
    const order = await activeOrder(lab);
    await lab.hypervisor.commitActive(order);
    await lab.ready();
    await lab.write(5, 0xd5);
    const bytes = await lab.hash();
    const heard = listen(lab);
    expect(await lab.hypervisor.pivot(order)).toEqual(OK);
    await lab.idle();
    expect(heard).toContainEqual(expect.objectContaining({ kind: 'job', how: 'completed' }));
    expect(await seen(lab)).toMatchObject({ job: null, process: order.process });
    expect(filesOf((await seen(lab)).chain)).toEqual([b, a, base]);
    expect(await lab.hash()).toBe(bytes);
    expect(await lab.hypervisor.flush(await orderFor(lab))).toEqual(OK);
    await lab.kill();
    await lab.start();
    expect(filesOf((await seen(lab)).chain)).toEqual([b, a, base]);
    expect(await lab.hash()).toBe(bytes);
  });

  test(`${name}: a cancelled active commit leaves the active layer in use`, async () => {
    await using lab = await open();
    const { c, b, a, base } = await written(lab);
    const order = await activeOrder(lab);
    await lab.hypervisor.commitActive(order);
    await lab.ready();
    await lab.write(5, 0xd5);
    const bytes = await lab.hash();
    expect(await lab.hypervisor.cancelCommit(order)).toEqual(OK);
    await lab.idle();
    expect(await seen(lab)).toMatchObject({ job: null });
    expect(filesOf((await seen(lab)).chain)).toEqual([c, b, a, base]);
    expect(await lab.hash()).toBe(bytes);
  });

  test(`${name}: only a mirror that goes right below is ended`, async () => {
    await using lab = await open();
    const files = await written(lab);
    const order = await activeOrder(lab);
    expect(codeOf(await lab.hypervisor.pivot(order))).toBe('changed');
    expect(codeOf(await lab.hypervisor.cancelCommit(order))).toBe('changed');
    await lab.startEndless(named(files, 'pull', 'a'));
    expect(codeOf(await lab.hypervisor.pivot(order))).toBe('changed');
    expect(codeOf(await lab.hypervisor.commitActive(order))).toBe(84);
    expect((await seen(lab)).job).toMatchObject({ kind: 'pull' });
    await lab.cancel();
  });

  test(`${name}: a chain that is another one by now is not committed`, async () => {
    await using lab = await open();
    await chainOf(lab, 1);
    const order = await activeOrder(lab);
    const stale = { ...order, chain: [...order.chain].slice(1) };
    expect(codeOf(await lab.hypervisor.commitActive(stale))).toBe('changed');
    const other = { ...order, process: 'another' };
    expect(codeOf(await lab.hypervisor.commitActive(other))).toBe('changed');
  });
}

const OK = { ok: true, value: null };

async function activeOrder(lab: HypervisorLab) {
  return { ...(await orderFor(lab)), chain: filesOf((await seen(lab)).chain) };
}
