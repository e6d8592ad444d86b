/**
 * contrib/libvirt's hook as libvirt runs it: a process with a guest's XML on its stdin, beside a
 * journal that its service has open. Needs Debian's python3, which a host with Nova has.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import type { FileName, OperationId, VolumeId } from '#domain/ids.ts';
import { judgeBoot, type KnownChain } from '#domain/known-chain.ts';
import type { Entry, Operation } from '#ports/journal.ts';
import { SimClock } from '#sim/clock.ts';

const HOOK = join(import.meta.dirname, '../../contrib/libvirt/chainkeeper');
const VOLUME = '5e8aa6ba-0f1f-4ef5-9e2c-6a8e4cf0e3a1' as VolumeId;
const UUID = '7c5c1ae6-6f6b-4f6a-9c2f-1d7f0a6d1b11';
const BASE = `volume-${VOLUME}` as FileName;
const [S1, S2] = [`${BASE}.s1`, `${BASE}.s2`] as [FileName, FileName];
const OPERATION = 'operation-1' as OperationId;

/** A host: a state_path with a journal that its service has open, and a share. */
class Host implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ck-boot-guard-'));
  readonly state = join(this.#folder, 'state');
  readonly share = join(this.#folder, 'share');
  #journal: SqliteJournal | null = null;

  constructor() {
    mkdirSync(this.state);
    mkdirSync(this.share);
  }

  static async of(chain: Partial<KnownChain>): Promise<Host> {
    const host = new Host();
    await host.know(chain);
    return host;
  }

  async know(chain: Partial<KnownChain>, at = 'accepted'): Promise<void> {
    const journal = this.#journal ?? this.#open();
    this.#journal = journal;
    const saga = { kind: 'create', request: { volume: VOLUME, snapshot: 's2' }, at };
    if ((await journal.operation(OPERATION)) === null) {
      await journal.ask({ ...ASKED, saga } as unknown as Operation);
      await journal.accept(OPERATION);
    }
    const known = { directory: this.share, files: [S2, S1, BASE], ...FREE, ...chain };
    const nothing = { evidence: [], tell: null, formats: [] };
    await journal.commit(OPERATION, { saga, ...nothing, chain: known } as unknown as Entry);
    for (const file of known.files) writeFileSync(join(this.share, file), '');
  }

  /** The service ends as when it is killed: nothing is written back. */
  async stopService(): Promise<void> {
    await this.#journal?.[Symbol.asyncDispose]();
  }

  remove(file: FileName): void {
    rmSync(join(this.share, file));
  }

  allow(at: Date): void {
    mkdirSync(join(this.state, 'allow-start'), { recursive: true });
    const marker = join(this.state, 'allow-start', VOLUME);
    writeFileSync(marker, '');
    utimesSync(marker, at, at);
  }

  /** A row that nobody can read. */
  spoil(volume: string): void {
    const db = new DatabaseSync(join(this.state, 'journal.sqlite'));
    const row = "VALUES (?, '/', 'no JSON', 'nothing', NULL, 'operation-1', 1, NULL)";
    db.prepare(`INSERT INTO chain ${row}`).run(volume);
    db.close();
  }

  disk(file: FileName, serial: string = VOLUME, folder = this.share): string {
    return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='${folder}/${file}'/><target dev='vda'/><serial>${serial}</serial></disk>`;
  }

  asks(disks: string, phase = 'prepare', environment: object = {}): Answer {
    const xml = `<domain type='kvm'><name>instance-1</name><uuid>${UUID}</uuid><devices>
      ${disks}<interface type='bridge'/></devices></domain>`;
    const env = { OS_DEFAULT__STATE_PATH: this.state, ...environment };
    const arguments_ = ['instance-1', phase, 'begin', '-'];
    const { status, stderr, error } = spawnSync(HOOK, arguments_, {
      ...{ env, input: xml, timeout: 10_000 },
      encoding: 'utf8',
    });
    if (error !== undefined) throw error;
    return { starts: status === 0, said: stderr };
  }

  #open(): SqliteJournal {
    const journal = SqliteJournal.open(join(this.state, 'journal.sqlite'), new SimClock());
    if (!journal.ok) throw new Error(journal.error);
    return journal.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#journal?.[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

interface Answer {
  readonly starts: boolean;
  readonly said: string;
}

const ASKED = {
  ...{ id: OPERATION, accepted: false, requestId: 'req-1', globalRequestId: null },
  ...{ askedAt: 1, updatedAt: 1 },
};

const FREE = { held: 'nothing', process: null } as const;
const STARTS = { starts: true, said: '' };

describe.skipIf(!existsSync('/usr/bin/python3'))('the boot guard', () => {
  test('refuses what is below the active file, and says what mends it', async () => {
    await using host = await Host.of({});
    expect(host.asks(host.disk(S2))).toEqual(STARTS);
    for (const file of [S1, BASE]) {
      const { starts, said } = host.asks(host.disk(file));
      expect(starts, file).toBe(false);
      expect(said).toContain(`volume ${VOLUME} is to start on ${file}`);
      expect(said).toContain(`the guest wrote to ${S2} since`);
      expect(said).toContain(`volume_attachment refresh ${UUID} ${VOLUME}`);
      expect(said).toContain(`chainkeeper chain show ${VOLUME}`);
      expect(said).toContain(`touch ${host.state}/allow-start/${VOLUME}`);
      expect(said.trim().split('\n')).toHaveLength(1);
    }
  });

  test('looks at every disk', async () => {
    await using host = await Host.of({});
    const other = host.disk(BASE, 'another');
    expect(host.asks(other + host.disk(S2))).toEqual(STARTS);
    expect(host.asks(other + host.disk(S1))).toMatchObject({ starts: false });
  });

  test('refuses a chain that is held, and names the operation', async () => {
    await using host = await Host.of({ held: 'all' });
    const { starts, said } = host.asks(host.disk(S2));
    expect(starts).toBe(false);
    expect(said).toContain(`in the middle of operation ${OPERATION}`);
    expect(said).toContain('start chainkeeper');
    await host.know({});
    expect(host.asks(host.disk(S2))).toEqual(STARTS);
  });

  test('does not have an operation waited for that has ended', async () => {
    await using host = await Host.of({});
    await host.know({ held: 'all' }, 'end');
    const { starts, said } = host.asks(host.disk(S2));
    expect(starts).toBe(false);
    expect(said).toContain(`operation ${OPERATION} has ended`);
    expect(said).toContain('outcome is unknown can be settled');
    expect(said).not.toContain('start chainkeeper');
    expect(said).toContain(`touch ${host.state}/allow-start/${VOLUME}`);
    expect(said.trim().split('\n')).toHaveLength(1);
  });

  test('answers the same whether the service runs or not', async () => {
    await using host = await Host.of({});
    const before = host.asks(host.disk(S1));
    await host.stopService();
    expect(host.asks(host.disk(S1))).toEqual(before);
    expect(host.asks(host.disk(S2))).toEqual(STARTS);
  });

  test('lets start what it knows nothing about', async () => {
    await using host = await Host.of({});
    expect(host.asks(host.disk(S1, 'another'))).toEqual(STARTS);
    expect(host.asks(host.disk(S1, VOLUME, '/elsewhere'))).toEqual(STARTS);
    expect(host.asks(host.disk(`${BASE}.s9` as FileName))).toEqual(STARTS);
    expect(host.asks('')).toEqual(STARTS);
    await using bare = new Host();
    expect(bare.asks(bare.disk(S1))).toEqual(STARTS);
    expect(existsSync(join(bare.state, 'journal.sqlite')), 'and makes none').toBe(false);
  });

  test('lets start when the active file was merged away since', async () => {
    await using host = await Host.of({});
    host.remove(S2);
    expect(host.asks(host.disk(S1))).toEqual(STARTS);
  });

  test('lets start when an operator says so, until the chain is changed again', async () => {
    await using host = await Host.of({});
    const learnt = new SimClock().now();
    host.allow(new Date(learnt - 1_000));
    expect(host.asks(host.disk(S1))).toMatchObject({ starts: false });
    host.allow(new Date(learnt + 1_000));
    expect(host.asks(host.disk(S1))).toEqual(STARTS);
  });

  test('a marker of the future, or one that is a folder, lets nothing start', async () => {
    await using host = await Host.of({});
    host.allow(new Date(Date.now() + 365 * 86_400_000));
    expect(host.asks(host.disk(S1))).toMatchObject({ starts: false });
    rmSync(join(host.state, 'allow-start', VOLUME));
    mkdirSync(join(host.state, 'allow-start', VOLUME));
    expect(host.asks(host.disk(S1))).toMatchObject({ starts: false });
  });

  test('a link to a file is that file', async () => {
    await using host = await Host.of({});
    symlinkSync(join(host.share, S1), join(host.share, 'link'));
    expect(host.asks(host.disk('link' as FileName))).toMatchObject({ starts: false });
  });

  test('what cannot be read of one disk lets no other one start', async () => {
    await using host = await Host.of({});
    host.spoil('another');
    expect(host.asks(host.disk(S1, 'another'))).toEqual(STARTS);
    const both = host.disk(S1, 'another') + host.disk(S1);
    expect(host.asks(both)).toMatchObject({ starts: false });
  });

  test('reads the state_path as the service does, or not at all', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ck-boot-conf-'));
    try {
      const read = (text: string) => {
        writeFileSync(join(folder, 'x.conf'), text);
        const program =
          'import importlib.machinery as m, sys; ' +
          `hook = m.SourceFileLoader('hook', '${HOOK}').load_module(); ` +
          `print(hook.state_path_of('${join(folder, 'x.conf')}', {}))`;
        const { status, stdout } = spawnSync('/usr/bin/python3', ['-B', '-Wi', '-c', program], {
          encoding: 'utf8',
        });
        return status === 0 ? stdout.trim() : 'unchecked';
      };
      expect(read('')).toBe('/var/lib/chainkeeper');
      expect(read('[DEFAULT]\nstate_path = "/x y"\n')).toBe('/x y');
      expect(read('[DEFAULT]\nstate_path: /x\n')).toBe('/x');
      expect(read('[DEFAULT]\nhost = a\n state_path = /evil\n')).toBe('/var/lib/chainkeeper');
      expect(read('[api]\nstate_path = /evil\n')).toBe('/var/lib/chainkeeper');
      expect(read('#state_path = /evil\nstate_path = /x$$y\n')).toBe('/x$y');
      expect(read('state_path = /x/$host\n')).toBe('unchecked');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('blocks no guest because of a journal that cannot be read', async () => {
    await using host = new Host();
    writeFileSync(join(host.state, 'journal.sqlite'), 'no database at all '.repeat(300));
    expect(host.asks(host.disk(S1))).toEqual(STARTS);
  });

  test('is not held up by a journal that is no file', async () => {
    await using host = new Host();
    const made = spawnSync('mkfifo', [join(host.state, 'journal.sqlite')]);
    expect(made.status).toBe(0);
    expect(host.asks(host.disk(S1))).toEqual(STARTS);
  });

  test('refuses no guest because of its name', async () => {
    await using host = new Host();
    writeFileSync(join(host.state, 'journal.sqlite'), 'no database at all '.repeat(300));
    const odd = `exec ${HOOK} "$(printf 'instance-\\377')" prepare begin -`;
    const env = { OS_DEFAULT__STATE_PATH: host.state, PATH: process.env.PATH };
    const input = `<domain><devices>${host.disk(S1)}</devices></domain>`;
    const { status, stderr } = spawnSync('/bin/sh', ['-c', odd], { env, input, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  test('is asked at other moments too, and has nothing to say', async () => {
    await using host = await Host.of({});
    for (const phase of ['start', 'started', 'stopped', 'release', 'migrate', 'reconnect']) {
      expect(host.asks(host.disk(S1), phase)).toEqual(STARTS);
    }
  });

  test('judges as the domain does, whatever the chain', { timeout: 60_000 }, async () => {
    await using host = await Host.of({});
    const names = [S2, S1, BASE];
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(names, { minLength: 1 }),
        fc.constantFrom('nothing', 'below', 'all'),
        fc.constantFrom(...names),
        fc.boolean(),
        async (files, held, file, isThere) => {
          const chain: KnownChain = { directory: host.share, files, held, process: null };
          await host.know(chain);
          const [active] = files;
          if (!isThere && active !== undefined) host.remove(active);
          const judged = judgeBoot(chain, { directory: host.share, file }, (it) =>
            existsSync(join(host.share, it)),
          );
          expect(host.asks(host.disk(file)).starts).toBe(judged === null);
        },
      ),
      { numRuns: 60 },
    );
  });
});
