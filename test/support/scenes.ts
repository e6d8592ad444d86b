import { afterCreate, afterMerge, type Layer, type Merge } from '#domain/chain.ts';
import type { CreateRequest } from '#domain/plan-create.ts';
import type { DeleteRequest } from '#domain/plan-delete.ts';
import { chain, file } from './chains.ts';
import { header, type Scenes, SUBJECT } from './sights.ts';

export const LIMITS = { maxChainDepth: 8 };

/** A create of `new` over s1 over the raw v, as all the tests of a create tell it. */
export const CREATE: CreateRequest = { ...SUBJECT, newFile: file('new') };
export const BEFORE = chain('s1', 'v');
export const CREATED = chain('new', 's1', 'v');
export const NEW_HEADER = { new: header()('s1', 'qcow2') };
export const CREATE_SCENES: Scenes = {
  status: 'creating',
  extraHeaders: NEW_HEADER,
  chains: [
    BEFORE,
    BEFORE,
    CREATED,
    CREATED,
    chain('v'),
    chain('later', 'new', 's1', 'v'),
    chain('new', 'v'),
  ],
};

/** A delete of each kind over s3, s2, s1 and the raw v. */
export interface DeleteStory {
  readonly name: string;
  readonly request: DeleteRequest;
  readonly merge: Merge;
  readonly before: Layer;
  readonly after: Layer;
  /** The overlay whose header is rewritten. */
  readonly repointed: string;
}
const long = chain('s3', 's2', 's1', 'v');
export const DELETES: readonly DeleteStory[] = [
  story('pull onto s1', long, { kind: 'pull', onto: file('s1') }, 's3'),
  story('pull away the base', chain('s1', 'v'), { kind: 'pull', onto: null }, 's1'),
  story('commit in the middle', long, commit('s2', 's1'), 's3'),
  story('commit into the raw base', long, commit('s1', 'v'), 's2'),
];

export const scenesOf = ({ before, after }: DeleteStory): Scenes => ({
  status: 'deleting',
  extraHeaders: {},
  chains: [before, before, after, after, chain('s3', 'v'), chain('new', 's3', 's2', 's1', 'v')],
});

function story(name: string, before: Layer, merge: Merge, repointed: string): DeleteStory {
  const after = afterMerge(before, merge);
  if (!after.ok) throw new Error(`no such merge: ${name}`);
  const asked =
    merge.kind === 'pull'
      ? { fileToMerge: merge.onto, mergeTarget: null }
      : { fileToMerge: merge.top, mergeTarget: merge.into };
  return { name, before, merge, after: after.value, repointed, request: { ...SUBJECT, ...asked } };
}

function commit(top: string, into: string): Merge {
  return { kind: 'commit', top: file(top), into: file(into) };
}

/** The chain that a create predicts. */
export function predicted(before: Layer, name: string): Layer {
  const after = afterCreate(before, file(name));
  if (!after.ok) throw new Error(`${name} is there already`);
  return after.value;
}
