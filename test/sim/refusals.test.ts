import { describe, expect, test } from 'vitest';
import { filesOf, type Merge } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import { type FileName, type Format, QCOW2, RAW, type VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import { ActiveCommit } from '#sim/active-commit.ts';
import { type Manner, SimAgent } from '#sim/agent.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import type { SimDisk } from '#sim/disk.ts';
import type { CommitCall } from '#sim/ground.ts';
import { SimJob } from '#sim/job.ts';
import type { No, RefusalName } from '#sim/refusals.ts';
import type { NewFile } from '#sim/share.ts';

type Answer = Result<null, Fault>;
/** Through the port, or one of libvirt's calls that nobody makes through it. */
type Asked = Promise<Answer | Result<null, No>> | Result<null, No>;
type Row = readonly [code: number, says: RegExp, does: (it: Scene) => Asked];

const file = (name: string) => name as FileName;
const [A, B, C] = [file('a'), file('b'), file('c')];

/** `vdb` is `b on a on base`, with something in each; `vda` beside it is one raw file. */
class Scene {
  readonly clock = new SimClock();
  readonly cloud = new SimCloud({ clock: this.clock });
  readonly base = this.cloud.disk.xml.file;
  readonly folder = this.cloud.share.directory;

  /** The chain when the last call was made. */
  before: readonly FileName[] = [];

  static async open(): Promise<Scene> {
    const scene = new Scene();
    for (const name of [A, B]) {
      const { file: backing, format } = scene.cloud.disk.chain();
      scene.overlay(name, { backing, backingFormat: format });
      expect(await scene.switchTo(name)).toEqual(ok(null));
      for (let at = 0; at < 8; at += 2) scene.cloud.disk.write(at, 7);
    }
    return scene;
  }

  overlay(name: FileName, says: NewFile = {}) {
    return this.cloud.share.create(name, { backing: B, backingFormat: QCOW2, ...says });
  }

  /** What every call names. */
  seen(disk = this.cloud.disk) {
    this.before = filesOf(disk.xml);
    const { server, guest } = this.cloud;
    const { volume, target } = disk;
    return { server, volume, target, process: guest.process };
  }

  switchTo(name: FileName, directory = this.folder, secret?: string): Promise<Answer> {
    const { hypervisor, disk } = this.cloud;
    const key = secret === undefined ? null : { secret, engine: null };
    const active = disk.xml.file;
    return hypervisor.snapshot({ ...this.seen(), directory, file: name, active, key });
  }

  /** A switch with a freeze, of a guest with such an agent. */
  quiesced(says: { freeze?: Manner; state?: SimAgent['state'] } | null): Promise<Answer> {
    const { guest, hypervisor, disk } = this.cloud;
    if (says !== null) {
      const { state = 'connected', freeze = 'obeys' } = says;
      const agent = new SimAgent(this.clock);
      agent.state = state;
      agent.freezes = () => freeze;
      guest.agent = agent;
    }
    const { name } = this.overlay(C);
    const order = { ...this.seen(), directory: this.folder, file: name, active: disk.xml.file };
    return this.clock.until(hypervisor.snapshot({ ...order, quiesce: true }));
  }

  /** A new overlay of that kind is switched to. */
  over(says: NewFile): Promise<Answer> {
    return this.switchTo(this.overlay(C, says).name);
  }

  merge(merge: Merge, disk = this.cloud.disk): Promise<Answer> {
    const chain = filesOf(disk.xml);
    return this.cloud.hypervisor.merge({ ...this.seen(disk), merge, chain });
  }

  commit(top: string, into: string): Promise<Answer> {
    return this.merge({ kind: 'commit', top: file(top), into: file(into) });
  }

  pull(onto: string | null): Promise<Answer> {
    return this.merge({ kind: 'pull', onto: onto === null ? null : file(onto) });
  }

  blockCommit(call: Partial<CommitCall>): Result<null, No> {
    const whole = { top: null, base: null, ...call };
    const make = (disk: SimDisk) =>
      call.active ? ActiveCommit.of(disk, whole) : SimJob.commit(disk, whole);
    return this.cloud.hypervisor.begin(this.seen(), make);
  }

  blockPull(base: FileName | null, relative: boolean): Result<null, No> {
    const make = (disk: SimDisk) => SimJob.pull(disk, { base, relative });
    return this.cloud.hypervisor.begin(this.seen(), make);
  }

  abort(pivot = false): Result<null, No> {
    return this.cloud.hypervisor.abort(this.seen(), { pivot });
  }

  flush(): Promise<Answer> {
    return this.cloud.hypervisor.flush(this.seen());
  }

  /** QEMU hangs with one call in it, while `asked` waits for the guest. */
  async behind(ask: () => Promise<Answer>, then: () => void): Promise<[Answer, Answer]> {
    const { hypervisor, server } = this.cloud;
    hypervisor.hang(server);
    const [holding, waiting] = [this.flush(), ask()];
    await this.clock.advance(1_000);
    then();
    return this.clock.until(Promise.all([holding, waiting]));
  }

  kill(): void {
    this.cloud.hypervisor.end(this.cloud.server, 'killed');
  }
}

/** Every refusal of the sim's table; the compiler sees to it that none is left out. */
const ROWS: Readonly<Record<RefusalName, Row>> = {
  'overlay named by a relative path': [
    27,
    /path 'some\/c' must be absolute$/,
    (it) => it.switchTo(C, 'some'),
  ],
  'overlay missing': [38, /for disk vdb: .*\/c: No such file/, (it) => it.switchTo(C)],
  'overlay is a folder': [67, /snapshot disk 'vdb'/, (it) => it.over({ access: 'folder' })],
  'agent not configured': [74, /^argument unsupported/, (it) => it.quiesced(null)],
  'agent not connected': [86, /is not connected$/, (it) => it.quiesced({ state: 'disconnected' })],
  'agent does not answer': [
    86,
    /not available for now$/,
    (it) => it.quiesced({ freeze: { hangMs: 31_000 } }),
  ],
  'agent refuses': [
    1,
    /'guest-fsfreeze-freeze': failed/,
    (it) => it.quiesced({ freeze: 'refuses' }),
  ],
  'overlay is not qcow2': [1, /not in qcow2 format$/, (it) => it.over({ format: RAW })],
  'overlay in use': [1, /Failed to get "write" lock$/, (it) => it.switchTo(A)],
  'overlay may not be opened': [
    1,
    /'.*\/c': Permission denied$/,
    (it) => it.over({ access: 'forbidden' }),
  ],
  'overlay is immutable': [
    38,
    /open .*\/c: Operation not permitted$/,
    (it) => it.over({ access: 'immutable' }),
  ],
  'overlay is corrupt': [1, /corrupt; cannot be opened/, (it) => it.over({ features: 2 })],
  'overlay has unknown features': [1, /feature\(s\): 20$/, (it) => it.over({ features: 32 })],
  'secret unknown': [
    66,
    /no secret with matching uuid 'uuid-1'$/,
    (it) => it.switchTo(it.overlay(C, { luks: true }).name, it.folder, 'uuid-1'),
  ],
  'overlay without its key': [
    1,
    /'encrypt.key-secret' is required/,
    (it) => it.over({ luks: true }),
  ],
  'chain too deep': [
    84,
    /200 layers/,
    async (it) => {
      for (let at = 3; at < 200; at++) {
        it.overlay(file(`layer-${at}`));
        expect(await it.switchTo(file(`layer-${at}`))).toEqual(ok(null));
      }
      return it.over({});
    },
  ],
  'disk has a job': [
    84,
    /'vdb' already in active block job$/,
    async (it) => {
      await it.pull(it.base);
      return it.over({});
    },
  ],
  'disk has a mirror': [
    83,
    /still active: disk 'vdb' already/,
    async (it) => {
      it.cloud.hypervisor.startForeignJob(it.seen(), 'active-commit');
      return it.over({});
    },
  ],
  'top not in the chain': [8, /image '.*\/c' in chain for 'vdb'$/, (it) => it.commit('c', 'a')],
  'base not below the top': [
    8,
    /image '.*\/a' beneath '.*\/a' in chain for 'vdb'$/,
    (it) => it.commit('a', 'a'),
  ],
  'top is active': [8, /commit of 'vdb' active layer/, (it) => it.commit('b', 'a')],
  'names not relative': [
    55,
    /can't keep relative/,
    async (it) => {
      expect(await it.over({ backing: `${it.folder}/b` })).toEqual(ok(null));
      return it.pull('a');
    },
  ],
  'base may not be written': [
    1,
    /'block-commit': Could not open/,
    (it) => {
      it.cloud.share.file(it.base)!.access = 'immutable';
      return it.commit('a', it.base);
    },
  ],
  'base unlinked': [
    38,
    /unable to stat: /,
    (it) => {
      it.cloud.share.files.delete(it.base);
      return it.commit('a', it.base);
    },
  ],
  'top is not active': [
    8,
    /active commit requested but '.*\/a' is not active$/,
    (it) => it.blockCommit({ top: A, base: it.base, active: true }),
  ],
  'nothing below the top': [
    8,
    /could not find base image in chain for 'vdb'$/,
    async (it) => {
      await it.pull(null);
      await it.clock.advance(5_000);
      return it.blockCommit({ active: true });
    },
  ],
  'base not right below the top': [
    8,
    /base '.*' is not immediately below '.*\/b' in chain for '.*\/b'$/,
    (it) => it.blockCommit({ base: it.base, active: true, shallow: true }),
  ],
  'pull of everything kept relative': [
    8,
    /REBASE_RELATIVE is valid only with non-null base$/,
    (it) => it.blockPull(null, true),
  ],
  'disk unknown': [
    8,
    /disk 'vdz' not found in domain$/,
    (it) => {
      const where = { ...it.seen(), volume: 'vdz' as VolumeId };
      return it.cloud.hypervisor.abort(where, { pivot: false });
    },
  ],
  'no job to end': [8, /disk vdb does not have an active block job$/, (it) => it.abort()],
  'job past its cancelling': [
    1,
    /'concluded' cannot accept command verb 'cancel'$/,
    async (it) => {
      await it.pull(it.base);
      while (it.cloud.disk.job?.phase !== 'concluding') await it.clock.advance(100);
      return it.abort();
    },
  ],
  'job not ready to pivot': [
    83,
    /block job 'pull-vdb-libvirt-4-format' not ready for pivot yet$/,
    async (it) => {
      await it.pull(it.base);
      return it.abort(true);
    },
  ],
  'resize during a job': [
    1,
    /Device '\(null\)' is in use$/,
    async (it) => {
      await it.pull(it.base);
      return it.flush();
    },
  ],
  'guest shut off': [
    55,
    /domain is not running$/,
    (it) => {
      it.kill();
      return it.pull(it.base);
    },
  ],
  'remote disk of a guest that is off': [
    1,
    /not supported on 'network' disks using 'gluster' protocol$/,
    (it) => {
      const directory = it.cloud.share.home('gluster') ?? '';
      it.kill();
      return it.switchTo(it.overlay(C, { protocol: 'gluster' }).name, directory);
    },
  ],
  'guest gone': [
    42,
    /matching uuid '.*' \(instance-00000001\)$/,
    async (it) => {
      it.cloud.guest.transient = true;
      return (
        await it.behind(
          () => it.pull(it.base),
          () => it.kill(),
        )
      )[1];
    },
  ],
  'guest locked': [
    68,
    /held by monitor=remoteDispatchDomain/,
    async (it) => {
      const { hypervisor, server } = it.cloud;
      const later = () => void it.clock.sleep(40_000).then(() => hypervisor.goOn(server));
      return (await it.behind(() => it.pull(it.base), later))[1];
    },
  ],
  'QEMU dies in the call': [
    38,
    /Unable to read from monitor/,
    async (it) => {
      return (
        await it.behind(
          () => it.pull(it.base),
          () => it.kill(),
        )
      )[0];
    },
  ],
};

describe('libvirt refuses, with its code, and nothing has changed', () => {
  test.each(Object.entries(ROWS))('%s', async (_, [code, says, does]) => {
    const scene = await Scene.open();
    const answer = await does(scene);
    if (answer.ok) throw new Error('it was not refused');
    const { error } = answer;
    expect({ ...error, words: 'kind' in error ? error.detail : error.message }).toMatchObject({
      code,
      words: expect.stringMatching(says),
    });
    expect(filesOf(scene.cloud.disk.xml)).toEqual(scene.before);
  });

  test('no two refusals say the same', () => {
    const said = Object.values(ROWS).map(([code, says]) => `${code} ${says}`);
    expect(new Set(said).size).toBe(said.length);
  });
});

/** The same code and words for several mistakes. */
const MORE: readonly (readonly [string, number, (it: Scene) => Promise<Answer>])[] = [
  ['an empty file as overlay', 1, (it) => it.over({ format: RAW, clusters: 0 })],
  ['a vmdk as overlay', 1, (it) => it.over({ format: 'vmdk' as Format })],
  ['the raw base as overlay', 1, (it) => it.switchTo(it.base)],
  ['a folder that is not the share', 38, (it) => it.switchTo(C, '/elsewhere')],
  ['a base above the top', 8, (it) => it.commit('a', 'b')],
  ['a base that is not there', 8, (it) => it.commit('a', 'c')],
  ['a pull onto the active layer', 8, (it) => it.pull('b')],
  ['a pull onto a stranger', 8, (it) => it.pull('c')],
  [
    'a wrong file while a job runs: the files are looked for first',
    8,
    async (it) => {
      await it.pull(it.base);
      return it.commit('c', 'a');
    },
  ],
  [
    'a merge while a mirror runs',
    83,
    async (it) => {
      it.cloud.hypervisor.startForeignJob(it.seen(), 'copy');
      return it.pull(it.base);
    },
  ],
  [
    'a commit of a guest that is shut off: the files are looked for first',
    8,
    async (it) => {
      it.kill();
      return it.commit('c', 'a');
    },
  ],
  [
    'a commit of a guest that is shut off, of files that are there',
    55,
    async (it) => {
      it.kill();
      return it.commit('a', it.base);
    },
  ],
  [
    'a flush of a guest that is shut off',
    55,
    async (it) => {
      it.kill();
      return it.flush();
    },
  ],
];

test.each(MORE)('refused too: %s (%i)', async (_, code, does) => {
  expect(await does(await Scene.open())).toMatchObject({ error: { kind: 'rejected', code } });
});

/** What one would think is refused, and is not (measured). */
describe('libvirt does not refuse', () => {
  test.each<[string, NewFile]>([
    ['an overlay that names another file', { backing: '/etc/shadow', backingFormat: RAW }],
    ['an overlay that names nothing', { backing: null }],
    ['an overlay that is marked dirty', { features: 1 }],
    ['an overlay that keeps its data elsewhere', { features: 4 }],
    ['a smaller overlay', { clusters: 4 }],
    ['a larger overlay', { clusters: 12 }],
  ])('%s', async (_, says) => {
    const scene = await Scene.open();
    expect(await scene.over(says)).toEqual(ok(null));
    expect(filesOf(scene.cloud.disk.chain())).toEqual([C, B, A, scene.base]);
    expect(scene.cloud.disk.bytes).toBe((says.clusters ?? 8) * 65_536);
  });

  test('a pull of a disk that has one layer, and a pull onto the layer below', async () => {
    const scene = await Scene.open();
    const { root, hypervisor } = scene.cloud;
    const how: string[] = [];
    hypervisor.listen((one) => how.push(one.kind === 'job' ? `${one.target} ${one.how}` : ''));
    expect(await scene.merge({ kind: 'pull', onto: null }, root)).toEqual(ok(null));
    scene.cloud.share.file(B)!.header = { ...scene.cloud.share.file(B)!.header!, format: 'vmdk' };
    expect(await scene.pull('a')).toEqual(ok(null));
    await scene.clock.advance(5_000);
    expect(how.sort()).toEqual(['vda completed', 'vdb completed']);
    expect(filesOf(scene.cloud.disk.chain())).toEqual([B, A, scene.base]);
    expect(scene.cloud.share.file(B)?.header).toMatchObject({ backing: A, format: QCOW2 });
  });

  test('a snapshot of a disk while another one of the guest has a job', async () => {
    const scene = await Scene.open();
    const { share, root, hypervisor, disk } = scene.cloud;
    await scene.pull(scene.base);
    const active = root.xml.file;
    share.create(C, { backing: active, backingFormat: RAW });
    const order = { ...scene.seen(root), directory: share.directory, file: C, active };
    expect(await hypervisor.snapshot(order)).toEqual(ok(null));
    expect(disk.job?.kind).toBe('pull');
    await scene.clock.advance(5_000);
    expect(filesOf(disk.chain())).toEqual([B, scene.base]);
    expect(filesOf(root.chain())).toEqual([C, active]);
  });

  test('a snapshot of a persistent guest that is shut off: it forgets what is below', async () => {
    const scene = await Scene.open();
    scene.kill();
    expect(await scene.over({})).toEqual(ok(null));
    expect(filesOf(scene.cloud.disk.config)).toEqual([C]);
    expect(scene.cloud.hypervisor.start(scene.cloud.server)).toEqual(ok(null));
    expect(filesOf(scene.cloud.disk.chain())).toEqual([C, B, A, scene.base]);
  });

  test('a snapshot of a guest that shuts off while the call waits', async () => {
    const scene = await Scene.open();
    const [, answer] = await scene.behind(
      () => scene.over({}),
      () => scene.kill(),
    );
    expect(answer).toEqual(ok(null));
    expect(filesOf(scene.cloud.disk.config)).toEqual([C]);
  });
});

describe('while a QEMU hangs', () => {
  test('a call that is in it goes on when it does, and nobody else is held up', async () => {
    const scene = await Scene.open();
    const { hypervisor, server, share, disk } = scene.cloud;
    const other = scene.cloud.addGuest([RAW]);
    hypervisor.hang(server);
    const held = scene.over({});
    await scene.clock.advance(600_000);
    expect(filesOf(disk.chain())).toEqual([B, A, scene.base]);
    const [theirs] = other.disks as [SimDisk];
    const where = { server: other.server, volume: theirs.volume };
    expect(await hypervisor.look(where)).toMatchObject({ value: { process: other.process } });
    hypervisor.goOn(server);
    expect(await scene.clock.until(held)).toEqual(ok(null));
    expect(filesOf(disk.chain())).toEqual([C, B, A, scene.base]);
    expect(share.isOpen(share.file(C)!)).toBe(true);
  });

  test('a look waits too: the size is for QEMU to tell', async () => {
    const scene = await Scene.open();
    const { hypervisor, server } = scene.cloud;
    hypervisor.hang(server);
    const looks = [hypervisor.look(scene.seen()), hypervisor.look(scene.seen())];
    const late = await scene.clock.until(looks[1] as Promise<unknown>);
    expect(late).toMatchObject({ error: { code: 68 } });
    hypervisor.goOn(server);
    expect(await looks[0]).toMatchObject({ ok: true, value: { target: 'vdb' } });
  });

  test('a flush that gets through to another QEMU than it was for is none', async () => {
    const scene = await Scene.open();
    const { hypervisor, server } = scene.cloud;
    const restart = () => {
      scene.kill();
      expect(hypervisor.start(server)).toEqual(ok(null));
    };
    const [, waited] = await scene.behind(() => scene.flush(), restart);
    expect(waited).toMatchObject({ error: { kind: 'rejected', code: 'changed' } });
  });

  test('a job in it stands still', async () => {
    const scene = await Scene.open();
    const { hypervisor, server, disk } = scene.cloud;
    await scene.pull(scene.base);
    hypervisor.hang(server);
    await scene.clock.advance(600_000);
    expect(disk.job?.phase).toBe('copying');
    hypervisor.goOn(server);
    await scene.clock.advance(5_000);
    expect(disk.job).toBeNull();
  });
});

test('a transient guest is gone with its QEMU, and another one may come in its place', async () => {
  const scene = await Scene.open();
  const { hypervisor, guest, server } = scene.cloud;
  guest.transient = true;
  const before = guest.process;
  scene.kill();
  const why = { kind: 'guest-not-found' };
  expect(await hypervisor.look(scene.seen())).toMatchObject({ value: { kind: 'absent', why } });
  expect(await hypervisor.disks()).toEqual(ok([]));
  expect(hypervisor.start(server)).toEqual(ok(null));
  expect(guest.process).not.toBe(before);
});

test('a disk that is not the one that was seen is no disk of the order', async () => {
  const scene = await Scene.open();
  const order = { ...scene.seen(), target: 'vdz' };
  expect(await scene.cloud.hypervisor.flush(order)).toMatchObject({ error: { code: 'changed' } });
  const stranger = { ...scene.seen(), volume: 'nobody' as VolumeId };
  expect(await scene.cloud.hypervisor.flush(stranger)).toMatchObject({ ok: false });
});
