import { SimClock } from '#sim/clock.ts';
import { SimJournal } from '#sim/journal.ts';
import { journalContract } from './journal.ts';

journalContract('sim', async () => {
  const journal = new SimJournal(new SimClock());
  return {
    journal,
    async reopen() {
      journal.reopen();
      return journal;
    },
    async [Symbol.asyncDispose]() {
      await journal[Symbol.asyncDispose]();
    },
  };
});
