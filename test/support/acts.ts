import type { Kind, Move } from './histories.ts';

/** A move made concrete. Files are bare names; `clusters` counts clusters of 64 KiB. */
export type Act =
  | { readonly do: 'write'; readonly at: number; readonly byte: number }
  | { readonly do: 'zero' | 'unmap' | 'discard'; readonly at: number }
  | { readonly do: 'flush' | 'barrier' | 'kill' | 'stop' | 'start' | 'release' }
  | { readonly do: 'forge'; readonly says: Says }
  | { readonly do: 'snapshot'; readonly file: string; readonly make: Made | null }
  | {
      readonly do: 'pull';
      readonly base: string | null;
      readonly relative: boolean;
      readonly held: boolean;
    }
  | {
      readonly do: 'commit';
      readonly top: string | null;
      readonly base: string | null;
      readonly relative: boolean;
      readonly shallow: boolean;
      readonly active: boolean;
      readonly held: boolean;
    }
  | { readonly do: 'abort'; readonly pivot: boolean };

export interface Says {
  readonly backing: string | null;
  readonly format: string | null;
}

/** A new file, which need not be what an overlay should be. */
export interface Made {
  readonly format: 'raw' | 'qcow2';
  readonly clusters: number;
  readonly says: Says;
}

/** What a move is made concrete by. */
export interface Scene {
  readonly running: boolean;
  /** The active layer first; of a guest that is off the one file it would start from. */
  readonly chain: readonly { readonly file: string; readonly format: string }[];
  readonly clusters: number;
  readonly job: 'none' | 'copying' | 'ready';
  /**
   * A pull is held up. QEMU 7.2.22 crashes when one ends within a request of qemu-io, by which the
   * guest of these tests reads and writes: so it does neither.
   */
  readonly pulling: boolean;
  /** Every file there is. */
  readonly files: readonly string[];
  readonly directory: string;
  /** A layer is not what it was made as: QEMU reads whatever it takes the bytes for. */
  readonly poisoned: boolean;
}

const LONGEST = 7;

/** Null when such a move makes no sense now. */
export function actOf({ kind, dice }: Move, scene: Scene): Act | null {
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = dice;
  const { chain, running } = scene;
  const at = Math.floor(a * scene.clusters);
  if (!running && (GUEST.includes(kind) || e < 0.5)) return { do: 'start' };
  if (scene.pulling && REQUESTS.includes(kind)) return null;
  if (scene.poisoned && MERGES.includes(kind)) return null;
  // A chain that is too short for an inner commit had better grow.
  if (kind === 'commit' && running && chain.length < 3 && a < 0.9) {
    return snapshotOf(scene, [b, c, d, e]);
  }
  const whims = { relative: c < 0.7, held: e < 0.35 && running };
  switch (kind) {
    case 'write':
      return { do: 'write', at, byte: b < 0.1 ? 0 : 1 + Math.floor(b * 250) };
    case 'zero':
    case 'unmap':
    case 'discard':
      return { do: kind, at };
    case 'forge':
      return {
        do: 'forge',
        says: b < 0.5 ? NOTHING : { backing: 'base', format: b < 0.8 ? 'raw' : null },
      };
    case 'snapshot':
      return chain.length < LONGEST ? snapshotOf(scene, dice) : null;
    case 'pull': {
      const base = layerOf(scene, 1 + a * (chain.length - 0.7), b);
      return { do: 'pull', base, ...whims, relative: whims.relative && (base !== null || d < 0.1) };
    }
    case 'commit':
      return {
        do: 'commit',
        ...rangeOf(scene, a, b),
        shallow: d < 0.3,
        active: d > 0.93,
        ...whims,
      };
    case 'active commit': {
      const base = layerOf(scene, 1 + a * (chain.length - 1), b);
      const top = b < 0.5 ? null : (chain[0]?.file ?? null);
      return { do: 'commit', top, base, shallow: d < 0.3, active: true, ...whims };
    }
    case 'pivot':
    case 'cancel':
      if (scene.job === 'none' && a < 0.8) return null;
      return { do: 'abort', pivot: kind === 'pivot' };
    case 'release':
      return scene.job === 'copying' ? { do: 'release' } : null;
    case 'start':
      return running ? null : { do: 'start' };
    default:
      return { do: kind };
  }
}

/** What only a running guest, or its QEMU, does. */
const GUEST: readonly Kind[] = [
  'write',
  'zero',
  'unmap',
  'discard',
  'flush',
  'forge',
  'kill',
  'stop',
];
const REQUESTS: readonly Kind[] = [
  'write',
  'zero',
  'unmap',
  'discard',
  'flush',
  'forge',
  'barrier',
];
const MERGES: readonly Kind[] = ['snapshot', 'pull', 'commit', 'active commit', 'barrier', 'forge'];
const NOTHING: Says = { backing: null, format: null };

/** A commit's top and base: mostly two inner layers in order, now and then any two names. */
function rangeOf(scene: Scene, a: number, b: number) {
  const depth = scene.chain.length;
  const wild = b < 0.12;
  const top = wild ? a * (depth + 1) : 1 + a * Math.max(0, depth - 2);
  const base = wild ? b * 8 * depth : Math.floor(top) + 1 + b * b * Math.max(0, depth - top - 1);
  return { top: layerOf(scene, top, b), base: layerOf(scene, base, b) };
}

/** The layer so far down; past the lowest one no name, or one that is not in the chain. */
function layerOf({ chain, files }: Scene, at: number, die: number): string | null {
  const layer = chain[Math.floor(at)];
  if (layer !== undefined) return layer.file;
  const strangers = files.filter((file) => !chain.some((one) => one.file === file));
  return die < 0.8 ? null : (strangers[0] ?? 'stranger');
}

function snapshotOf(scene: Scene, dice: readonly number[]): Act {
  const [a = 0, b = 0, c = 0, d = 0] = dice;
  const { chain, files, clusters } = scene;
  const file = `f${files.length}`;
  const says = saysOf(scene, b, c);
  const size = a < 0.8 ? clusters : 8 + Math.floor((a - 0.8) * 45);
  const make: Made = { format: 'qcow2', clusters: size, says };
  if (d < 0.88) return { do: 'snapshot', file, make };
  if (d < 0.91) return { do: 'snapshot', file, make: { ...make, format: 'raw' } };
  if (d < 0.94) return { do: 'snapshot', file, make: null };
  if (d < 0.97) return { do: 'snapshot', file: chain.at(-1)?.file ?? file, make: null };
  const merged = files.find((one) => one !== 'base' && !chain.some((layer) => layer.file === one));
  return { do: 'snapshot', file: merged ?? file, make: null };
}

/** What an overlay's header says of what it will stand on: mostly the truth. */
function saysOf({ chain, files, directory }: Scene, b: number, c: number): Says {
  const { file, format } = chain[0] ?? { file: 'base', format: 'raw' };
  const other = format === 'raw' ? 'qcow2' : 'raw';
  const told = c < 0.82 ? format : c < 0.92 ? null : other;
  if (b < 0.72) return { backing: file, format: told };
  if (b < 0.84) return { backing: `${directory}/${file}`, format: told };
  if (b < 0.92) return NOTHING;
  if (b < 0.98) return { backing: files[Math.floor(c * files.length)] ?? file, format: told };
  return { backing: 'nowhere', format: told };
}
