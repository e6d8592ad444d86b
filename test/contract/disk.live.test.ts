import { afterAll, beforeAll } from 'vitest';
import { type Machine, machineOf } from '../live/differential/machine.ts';
import { RealSide } from '../live/differential/real-side.ts';
import { type Lab, openLab } from '../live/lab/lab.ts';
import { diskContract } from './disk.ts';

let lab: Lab<null>;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  machine = await machineOf(lab);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

diskContract('libvirt', (past) => RealSide.start(machine, past));
