import { expect, test } from 'vitest';
import type { FileName, ServerId, VolumeId } from '#domain/ids.ts';
import type { Hypervisor, SnapshotOrder } from '#ports/hypervisor.ts';
import { codeOf, type HypervisorLab } from './hypervisor.ts';

/** How an agent takes a command; `late` is longer than libvirt was told to wait. */
export type Takes = 'obeys' | 'refuses' | 'late';

/** A running guest with one disk, `base` alone, and an agent for it or none. */
export interface AgentLab extends AsyncDisposable {
  readonly hypervisor: Pick<Hypervisor, 'look' | 'snapshot' | 'thaw'>;
  readonly server: ServerId;
  readonly volume: VolumeId;
  readonly directory: string;
  readonly base: FileName;
  overlay: HypervisorLab['overlay'];
  /** From now on. */
  takes(command: 'freeze' | 'thaw', how: Takes): void;
  /** Whether the guest's file systems are frozen. */
  frozen(): boolean;
  /** Everything that was late has come through. */
  rest(): Promise<void>;
}

export type OpenAgent = (agent: 'connected' | 'disconnected' | 'none') => Promise<AgentLab>;

/** What libvirt does with an agent between it and the guest's file systems. */
export function quiesceContract(name: string, open: OpenAgent): void {
  test(`${name}: a freeze is over with the snapshot`, async () => {
    await using lab = await open('connected');
    expect(await lab.hypervisor.snapshot(await order(lab))).toEqual(OK);
    expect([await active(lab), lab.frozen()]).toEqual(['a.qcow2', false]);
  });

  test.each<['connected' | 'disconnected' | 'none']>([['connected'], ['disconnected'], ['none']])(
    `${name}: an agent that is shown as %s`,
    async (agent) => {
      await using lab = await open(agent);
      expect((await seen(lab)).agent).toBe(agent);
    },
  );

  test.each([
    ['none', 74],
    ['disconnected', 86],
  ] as const)(`${name}: an agent that is %s: code %i, and nothing changes`, async (agent, code) => {
    await using lab = await open(agent);
    expect(codeOf(await lab.hypervisor.snapshot(await order(lab)))).toBe(code);
    expect(codeOf(await lab.hypervisor.thaw(await guest(lab)))).toBe(code);
    expect(await active(lab)).toBe(lab.base);
  });

  test(`${name}: a freeze that is refused, and nothing changes`, async () => {
    await using lab = await open('connected');
    lab.takes('freeze', 'refuses');
    expect(codeOf(await lab.hypervisor.snapshot(await order(lab)))).toBe(1);
    expect([await active(lab), lab.frozen()]).toEqual([lab.base, false]);
  });

  test(`${name}: a freeze that is late leaves the guest frozen, and a thaw ends it`, async () => {
    await using lab = await open('connected');
    lab.takes('freeze', 'late');
    expect(codeOf(await lab.hypervisor.snapshot(await order(lab)))).toBe(86);
    await lab.rest();
    expect([await active(lab), lab.frozen()]).toEqual([lab.base, true]);
    expect(await lab.hypervisor.thaw(await guest(lab))).toEqual(OK);
    expect(lab.frozen()).toBe(false);
  });

  test(`${name}: while a freeze is late, a thaw is not heard`, async () => {
    await using lab = await open('connected');
    lab.takes('freeze', 'late');
    await lab.hypervisor.snapshot(await order(lab));
    expect(codeOf(await lab.hypervisor.thaw(await guest(lab)))).toBe(86);
    await lab.rest();
    expect(lab.frozen()).toBe(true);
  });

  test(`${name}: a thaw that is refused is an error of a switch that was made`, async () => {
    await using lab = await open('connected');
    lab.takes('thaw', 'refuses');
    expect(codeOf(await lab.hypervisor.snapshot(await order(lab)))).toBe(1);
    expect([await active(lab), lab.frozen()]).toEqual(['a.qcow2', true]);
    expect(codeOf(await lab.hypervisor.thaw(await guest(lab)))).toBe(1);
    lab.takes('thaw', 'obeys');
    expect(await lab.hypervisor.thaw(await guest(lab))).toEqual(OK);
    expect(lab.frozen()).toBe(false);
  });

  test(`${name}: where nothing is frozen a thaw is done`, async () => {
    await using lab = await open('connected');
    expect(await lab.hypervisor.thaw(await guest(lab))).toEqual(OK);
  });

  test(`${name}: another QEMU, or none, is not thawed`, async () => {
    await using lab = await open('connected');
    const mine = await guest(lab);
    expect(await lab.hypervisor.thaw({ ...mine, process: 'another' })).toMatchObject(REJECTED);
    const gone = { ...mine, server: '00000000-0000-4000-8000-000000000000' as ServerId };
    expect(await lab.hypervisor.thaw(gone)).toMatchObject(REJECTED);
  });
}

const OK = { ok: true, value: null };
const REJECTED = { ok: false, error: { kind: 'rejected' } };

async function seen({ hypervisor, server, volume }: AgentLab) {
  const view = await hypervisor.look({ server, volume });
  if (!view.ok || view.value.kind !== 'disk') throw new Error('no disk');
  return view.value;
}

const active = async (lab: AgentLab) => (await seen(lab)).chain.file;

async function guest(lab: AgentLab) {
  const { process } = await seen(lab);
  return { server: lab.server, volume: lab.volume, process };
}

async function order(lab: AgentLab): Promise<SnapshotOrder> {
  const { target, chain } = await seen(lab);
  const file = await lab.overlay('a.qcow2', { backing: chain.file, format: chain.format });
  const { directory } = lab;
  return { ...(await guest(lab)), target, directory, file, active: chain.file, quiesce: true };
}
