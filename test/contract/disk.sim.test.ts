import { SimulatedSide } from '../support/simulated-side.ts';
import { diskContract } from './disk.ts';

diskContract('sim', async (past) => {
  const side = new SimulatedSide(past, '/volumes');
  return { perform: (act) => side.perform(act, null), async [Symbol.asyncDispose]() {} };
});
