import { expect, test } from 'vitest';
import type { Act } from '../support/acts.ts';
import type { History } from '../support/histories.ts';
import type { Outcome } from '../support/side.ts';

/** One disk of one guest: the simulated or the real one. */
export interface DiskLab extends AsyncDisposable {
  perform(act: Act): Promise<Outcome>;
}

type Open = (past: History) => Promise<DiskLab>;

/** A belief about libvirt 9.0 and QEMU 7.2.22: what is done, and what is left of it. */
interface Belief {
  readonly name: string;
  readonly base?: History['baseFormat'];
  readonly unmaps?: boolean;
  readonly acts: readonly Act[];
  readonly holds: (last: Outcome, all: readonly Outcome[]) => void;
}

const CLUSTERS = 8;

const write = (at: number, byte: number): Act => ({ do: 'write', at, byte });
const zero = (at: number): Act => ({ do: 'zero', at });
const simply = (what: 'flush' | 'kill' | 'stop' | 'start'): Act => ({ do: what });
const overlay = (file: string, backing: string, format = 'qcow2', clusters = CLUSTERS): Act => ({
  do: 'snapshot',
  file,
  make: { format: 'qcow2', clusters, says: { backing, format } },
});
const pull = (base: string | null, relative = false): Act => ({
  do: 'pull',
  base,
  relative,
  held: false,
});
const commit = (top: string | null, base: string | null, more: object = {}): Act => ({
  do: 'commit',
  top,
  base,
  ...{ relative: false, shallow: false, active: false, held: false },
  ...more,
});
const mirror = (base: string): Act => commit(null, base, { active: true });
const abort = (pivot: boolean): Act => ({ do: 'abort', pivot });

/**
 * Each was believed otherwise until a random history on both sides said so
 * (test/live/differential.test.ts); the functions named are QEMU's or libvirt's.
 */
const BELIEFS: readonly Belief[] = [
  {
    // qemuBlockUpdateRelativeBacking: only calls that keep names relative read headers, lazily.
    name: 'a relative name is one that the header has when it is first asked for',
    acts: [overlay('f1', 'base', 'raw'), pull('base'), overlay('f2', 'f1'), pull('base', true)],
    holds: ({ code }) => expect(code).toBe(55),
  },
  {
    name: 'a name that a header once had is remembered',
    acts: [
      ...[overlay('f1', 'base', 'raw'), pull('base', true), pull('base')],
      ...[overlay('f2', 'f1'), pull('base', true)],
    ],
    holds: ({ code, state }) => {
      expect(code).toBe('ok');
      expect(state.files.f2?.header).toMatchObject({ backing: 'base', format: 'raw' });
    },
  },
  {
    // qcow2_change_backing_file: the driver of the node that is open, whatever the header said.
    name: 'a pull onto the file right below writes the true format, and moves nothing',
    acts: [overlay('f1', 'base', 'qcow2'), write(1, 0x11), pull('base', true)],
    holds: (_, all) => {
      const [made, , healed] = all.map(({ state }) => state);
      expect(made?.files.f1?.header).toMatchObject({ backing: 'base', format: 'qcow2' });
      expect(healed?.files.f1?.header).toMatchObject({ backing: 'base', format: 'raw' });
      expect(healed?.chain).toEqual(made?.chain);
    },
  },
  {
    // qemuDomainBlockCommit: names are looked up, then the job, then flags and adjacency.
    name: 'a job in the way hides wrong flags, and a wrong name hides the job',
    acts: [
      ...[overlay('f1', 'base', 'raw'), overlay('f2', 'f1'), mirror('f1')],
      ...[commit(null, 'base'), commit('f2', 'base', { shallow: true }), commit('f2', 'nowhere')],
    ],
    holds: (_, all) => expect(all.slice(-3).map(({ code }) => code)).toEqual([83, 83, 8]),
  },
  {
    name: 'a commit on a guest that is off looks for its layers first',
    acts: [overlay('f1', 'base', 'raw'), simply('stop'), commit('f1', 'f2'), commit('f1', 'base')],
    holds: (_, all) => expect(all.slice(-2).map(({ code }) => code)).toEqual([8, 55]),
  },
  {
    name: 'the inactive XML has the layers that libvirt was told of, not those it found',
    acts: [
      ...[overlay('f1', 'base', 'raw'), simply('stop'), simply('start'), overlay('f2', 'f1')],
      simply('stop'),
    ],
    holds: ({ state }) => expect(state.chain).toEqual(['f2 qcow2', 'f1 qcow2']),
  },
  {
    name: 'a pull down to a layer that libvirt found leaves the active one alone there',
    acts: [
      ...[overlay('f1', 'base', 'raw'), simply('stop'), simply('start'), overlay('f2', 'f1')],
      ...[pull('base'), simply('stop')],
    ],
    holds: ({ state }) => expect(state.chain).toEqual(['f2 qcow2']),
  },
  {
    name: 'a snapshot of a guest that is off forgets what is below',
    acts: [overlay('f1', 'base', 'raw'), simply('stop'), overlay('f2', 'f1')],
    holds: ({ state }) => expect(state.chain).toEqual(['f2 qcow2']),
  },
  {
    // Its place is marked as zeros, and written over in place when data comes again.
    name: 'a cluster that was cleared and written again has its new data also for a killed QEMU',
    base: 'qcow2',
    acts: [
      ...[write(1, 0x11), simply('flush'), zero(1), write(1, 0x22)],
      ...[simply('kill'), simply('start')],
    ],
    holds: ({ state }) => expect(state.guest?.[1]).toBe(String(0x22)),
  },
  {
    // blk_pwrite_zeroes passes by the check of BDRV_O_UNMAP; a discard does not.
    name: 'zeros that may unmap give the place back where discards are ignored',
    base: 'qcow2',
    acts: [write(1, 0x11), write(2, 0x22), { do: 'unmap', at: 1 }, zero(2), simply('flush')],
    holds: ({ state }) => expect(state.files.base?.cells.slice(1, 3)).toEqual(['Z', 'z']),
  },
  {
    // qcow2_cache_set_dependency: what was freed is on disk before it is allocated anew.
    name: 'a place that was given back is not taken again before the tables on disk say so',
    base: 'qcow2',
    acts: [write(1, 0x11), simply('flush'), { do: 'unmap', at: 1 }, write(2, 0x22)],
    holds: ({ state }) => expect(state.files.base?.cells.slice(1, 3)).toEqual(['Z', '.']),
  },
  {
    name: 'a discard of nothing on nothing changes nothing',
    base: 'qcow2',
    unmaps: true,
    acts: [{ do: 'discard', at: 1 }, { do: 'unmap', at: 2 }, simply('flush')],
    holds: ({ state }) => expect(state.files.base?.cells.slice(1, 3)).toEqual(['.', 'Z']),
  },
  {
    // The filters of both jobs are opened without BDRV_O_UNMAP.
    name: 'no discard gets through while the active layer is mirrored',
    unmaps: true,
    acts: [overlay('f1', 'base', 'raw'), write(1, 0x11), mirror('base'), { do: 'discard', at: 1 }],
    holds: ({ state }) => expect(state.guest?.[1]).toBe(String(0x11)),
  },
  {
    // bdrv_co_flush goes to children that are written to through their parent: not to a backing.
    name: "a guest's flush does not reach the base that it is mirrored to",
    base: 'qcow2',
    acts: [overlay('f1', 'base'), mirror('base'), write(1, 0x11), simply('flush')],
    holds: ({ state }) => {
      expect(state.files.f1?.cells[1]).toBe(String(0x11));
      expect(state.files.base?.cells[1]).toBe('.');
    },
  },
  {
    name: 'a cancelled mirror that was ready has flushed both sides',
    base: 'qcow2',
    acts: [overlay('f1', 'base'), mirror('base'), write(1, 0x11), abort(false)],
    holds: ({ state }) => {
      expect(state.files.f1?.cells[1]).toBe(String(0x11));
      expect(state.files.base?.cells[1]).toBe(String(0x11));
    },
  },
  {
    // Only a base that a commit itself reopened for writing is reopened read-only, which flushes.
    name: 'a commit into the base of a cancelled mirror is lost with a killed QEMU',
    base: 'qcow2',
    acts: [
      ...[overlay('f1', 'base'), write(1, 0x11), overlay('f2', 'f1')],
      ...[mirror('f1'), abort(false), mirror('base'), abort(false)],
      ...[write(2, 0x22), overlay('f3', 'f2'), commit('f2', 'base')],
      ...[simply('kill'), simply('start')],
    ],
    holds: ({ state }) => {
      expect(state.chain).toEqual(['f3 qcow2', 'base qcow2']);
      expect(state.guest?.slice(1, 3)).toEqual([String(0x11), '0']);
    },
  },
  {
    // bdrv_co_do_copy_on_readv looks for zeros in all that it has read at once.
    name: 'a pull writes zeros as data beside data, and as a zero cluster alone',
    base: 'qcow2',
    acts: [
      ...[write(0, 0x11), write(1, 0), write(4, 0), overlay('f1', 'base')],
      ...[pull(null), simply('flush')],
    ],
    holds: ({ state }) =>
      expect(state.files.f1?.cells).toEqual([String(0x11), '0', '.', '.', 'Z', '.', '.', '.']),
  },
  {
    // bdrv_co_truncate with BDRV_REQ_ZERO_WRITE.
    name: 'a base that grows hides what is below it, to its new end',
    base: 'qcow2',
    acts: [
      ...[overlay('f1', 'base', 'qcow2', CLUSTERS - 4), overlay('f2', 'f1', 'qcow2', 12)],
      ...[overlay('f3', 'f2', 'qcow2', 12), commit('f2', 'f1')],
    ],
    holds: ({ state }) => {
      expect(state.files.f1?.cells.join('')).toBe('....ZZZZZZZZ');
      expect(state.files.f1?.header?.clusters).toBe(12);
    },
  },
  {
    // bdrv_common_block_status_above: zeros past an end count as allocated, but in the first layer.
    name: 'past the end of a deeper layer a commit writes zeros',
    acts: [
      ...[
        write(6, 0x11),
        overlay('f1', 'base', 'raw', 4),
        overlay('f2', 'f1'),
        overlay('f3', 'f2'),
      ],
      commit('f2', 'base'),
    ],
    holds: ({ state }) => expect(state.guest?.[6]).toBe('0'),
  },
  {
    name: 'past the end of the layer right below a pull looks for nothing, so a guest reads more',
    acts: [...[write(6, 0x11), overlay('f1', 'base', 'raw', 4), overlay('f2', 'f1'), pull('base')]],
    holds: ({ state }, all) => {
      expect(all.at(-2)?.state.guest?.[6]).toBe('0');
      expect(state.guest?.[6]).toBe(String(0x11));
    },
  },
  {
    name: 'a start that is refused leaves only the topmost file in the XML',
    acts: [
      ...[overlay('f1', 'base', 'raw'), overlay('f2', 'nowhere'), simply('stop')],
      simply('start'),
    ],
    holds: ({ code, state }) => {
      expect(code).toBe(38);
      expect(state.chain).toEqual(['f2 qcow2']);
    },
  },
];

export function diskContract(name: string, open: Open): void {
  test.concurrent.each(BELIEFS)(`${name}: $name`, async ({ base, unmaps, acts, holds }) => {
    const past = { baseFormat: base ?? 'raw', clusters: CLUSTERS, unmaps: unmaps ?? false };
    await using lab = await open({ seed: 0, ...past, moves: [] });
    const all: Outcome[] = [];
    for (const act of acts) all.push(await lab.perform(act));
    holds(all.at(-1) as Outcome, all);
  });
}
