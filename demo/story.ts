import { setTimeout as sleep } from 'node:timers/promises';

/** Where the story is played: a simulated cloud, or a real one. */
export interface Stage extends AsyncDisposable {
  readonly about: string;
  /** The volume's chain, the file that the guest writes to first: one line per file. */
  chain(): Promise<readonly string[]>;
  /** The guest writes to its disk; `at` tells one write from another. */
  write(at: number): Promise<void>;
  /** The guest writes what a qcow2 image begins with to the start of its raw disk. */
  attack(): Promise<void>;
  /** A fingerprint of all that the guest reads. */
  bytes(): Promise<string>;
  /** A user asks Cinder; resolves when Cinder is done, to the snapshot's id or its last status. */
  take(): Promise<string>;
  remove(snapshot: string): Promise<string>;
  /** Every update that Cinder has accepted since the last call. */
  updates(): Promise<readonly string[]>;
  /** What the journal says about the newest operation. */
  evidence(): Promise<readonly string[]>;
  /** Ends the service without a warning, once a merge has begun. */
  killDuringMerge(): Promise<void>;
  restart(): Promise<void>;
  /** QEMU dies, and the guest is started from the topmost file alone. */
  reboot(): Promise<void>;
}

export type Say = (line?: string) => void;

/** Three snapshots, three kinds of delete, one attack, one crash; whether nothing was lost. */
export async function tell(stage: Stage, say: Say): Promise<boolean> {
  say(`chainkeeper: ${stage.about}`);
  say();
  await show(stage, say, 'A volume, attached to a running guest. It is raw:');

  say();
  say('The guest attacks: it writes a qcow2 header into its own raw disk, so that whoever guesses');
  say('formats by content will take the base for a qcow2 file.');
  await stage.attack();
  await stage.write(1);

  const snapshots: string[] = [];
  for (const ordinal of ['first', 'second', 'third']) {
    snapshots.push(await step(stage, say, `Take the ${ordinal} snapshot`, () => stage.take()));
    if (ordinal === 'first') {
      say('  Cinder had looked at the content and written "qcow2" into the new overlay; from the');
      say('  journal:');
      for (const line of await stage.evidence()) say(`    ${line}`);
    }
    await stage.write(1 + snapshots.length);
  }
  const [first = '', second = '', third = ''] = snapshots;
  const before = await stage.bytes();

  await step(stage, say, 'Delete the second: commit into the layer below it', async () => {
    const gone = stage.remove(second);
    await stage.killDuringMerge();
    say('  the service was killed while the merge ran; QEMU goes on by itself');
    await sleep(500);
    await stage.restart();
    say('  the service is back, and looks at what is there');
    return gone;
  });
  await step(stage, say, 'Delete the third: pull onto the base below it', () =>
    stage.remove(third),
  );
  await step(stage, say, 'Delete the first: pull everything', () => stage.remove(first));

  say();
  say('QEMU is killed, and the guest started again from its topmost file alone.');
  const survived = (await stage.bytes()) === before;
  await stage.reboot();
  const kept = (await stage.bytes()) === before;
  say(`The guest reads what it wrote: ${survived && kept ? 'every byte' : 'NOT ALL OF IT'}.`);
  return survived && kept;
}

async function step(
  stage: Stage,
  say: Say,
  title: string,
  act: () => Promise<string>,
): Promise<string> {
  say();
  say(`${title}.`);
  await show(stage, say, 'before:');
  const result = await act();
  for (const update of await stage.updates()) say(`  Cinder hears  ${update}`);
  await show(stage, say, 'after:');
  return result;
}

async function show(stage: Stage, say: Say, title: string): Promise<void> {
  say(`  ${title}`);
  for (const line of await stage.chain()) say(`    ${line}`);
}
