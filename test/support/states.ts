import { nextCreate } from '#domain/create-saga.ts';
import { nextDelete } from '#domain/delete-saga.ts';
import type { Saga } from '#domain/saga.ts';
import { chain } from './chains.ts';
import { CREATE, DELETES, LIMITS, NEW_HEADER } from './scenes.ts';
import { disk, header, headersOf, saw, sight } from './sights.ts';

const before = chain('s1', 'v');
const guest = disk(before);
const [story] = DELETES;
if (story === undefined) throw new Error('no delete is told');

/** A saga of each kind at each state that it can be in, but for the end. */
export function states(): readonly Saga[] {
  const create = { kind: 'create', request: CREATE, limits: LIMITS, at: 'accepted' } as const;
  const seen = (headers: object) =>
    saw(sight(guest, 'creating', { headers: { ...headersOf(before), ...headers } }));
  const switching = nextCreate(create, seen(NEW_HEADER)).saga;
  const mending = nextCreate(create, seen({ new: header()('s1', null) })).saga;
  const remove = { kind: 'delete', request: story!.request, at: 'accepted' } as const;
  const merging = nextDelete(remove, saw(sight(disk(story!.before), 'deleting'))).saga;
  if (merging.at !== 'merging') throw new Error(`it is ${merging.at}`);
  const shutOff = sight(disk(story!.before, { process: null }), 'deleting');
  const offline = nextDelete(remove, saw(shutOff)).saga;
  if (offline.at !== 'offline') throw new Error(`it is ${offline.at}`);
  const { kind, request, plan } = merging;
  const made = { before, after: { ...before, file: CREATE.newFile, on: before } };
  const undo = { kind: 'undo', request: CREATE, made } as const;
  const where = { target: 'vda', process: 'qemu-1', doubts: 0, refused: null };
  return [
    { ...create, at: 'waiting' },
    create,
    mending,
    switching,
    { kind: 'create', request: CREATE, at: 'confirming' },
    { ...remove, at: 'waiting' },
    remove,
    merging,
    { kind, request, at: 'flushing', plan, formats: [] },
    { kind, request, at: 'restoring', plan, why: 'it died', unchained: false, tries: 0 },
    offline,
    { kind, request, at: 'confirming', gone: plan.before.file, formats: [] },
    { ...undo, at: 'waiting' },
    { ...undo, at: 'committing', tries: 1, ...where },
    { ...undo, at: 'pivoting', tries: 1, ...where },
    { ...undo, at: 'canceling', why: 'it was taken', ...where },
    { ...undo, at: 'flushing', target: 'vda', process: 'qemu-1' },
  ];
}
