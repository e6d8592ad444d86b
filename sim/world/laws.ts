/** A law that every history must keep; the numbers are those of the design. */
export interface Law {
  readonly number: number;
  readonly name: string;
}

/** What a world watches. The others have tests of their own: see test/laws/numbers.test.ts. */
export const LAWS: readonly Law[] = [
  { number: 1, name: 'the guest reads what it wrote, at every instant' },
  { number: 2, name: 'QEMU may be killed now: what was flushed is there or can be had back' },
  { number: 3, name: 'a snapshot that nobody deletes keeps what it froze' },
  { number: 4, name: 'a snapshot under deletion keeps it until Cinder hears that it is gone' },
  { number: 5, name: 'a recorded format is the format the file was made with' },
  { number: 6, name: 'no byte of a raw file is read' },
  {
    number: 7,
    name: 'every header of a live chain names its backing file, relative, and its format',
  },
  { number: 8, name: 'a file that Cinder may delete is in no chain, live or after a crash' },
  {
    number: 9,
    name: 'a create that was reported is in the live chain and in the one after a crash',
  },
  { number: 10, name: 'intent is journalled before the effect, and the status before it is sent' },
  { number: 11, name: 'the words of one attempt come in order, and none after the last' },
  { number: 12, name: 'no attempt is both done and failed' },
  { number: 13, name: 'nothing is said for an attempt that a newer one has replaced' },
  { number: 14, name: 'every accepted delete ends merged, or failed with the chain whole' },
  { number: 15, name: 'every accepted create ends in use and reported, or with nothing changed' },
  { number: 16, name: 'at rest, the live chain, the headers and Cinder agree' },
  { number: 17, name: 'once the faults stop, everything comes to rest' },
  { number: 18, name: 'starting again at rest changes nothing' },
  { number: 19, name: 'the same seed gives the same history, byte for byte' },
  { number: 20, name: 'a request that is repeated is done once' },
  { number: 21, name: 'one job on a disk, and none ended by us' },
  { number: 22, name: 'one operation of a volume in effect at a time' },
  { number: 23, name: 'no file is made or removed by us, and only the named overlay is mended' },
  { number: 27, name: 'a refused request changes nothing' },
  {
    number: 28,
    name: 'every request is answered once, within 10 s, and what is accepted is journalled',
  },
  { number: 29, name: 'no overlay is switched to once Cinder has stopped waiting' },
  { number: 30, name: 'a delete is acknowledged only when 90% is not there, or is true' },
  { number: 32, name: 'a create that Cinder gave up is undone' },
  { number: 35, name: 'a jump of the clock changes no decision' },
  { number: 38, name: 'each kind of history does happen' },
];

/** A guard that is not built yet, and the law that is red without it. */
export const MISSING_GUARDS = {
  'boot guard': {
    law: 2,
    why: 'QEMU died with a rewritten header, and the guest was started before it could be set back',
  },
  'undo of a create': {
    law: 32,
    why: 'Cinder gave up or refused a create after the overlay was in use',
  },
  'no overlay on a layer that Cinder takes for stale': {
    law: 8,
    why: 'a pull of everything was done, Cinder never heard, and a new overlay was put on top',
  },
  'Cinder uses the reported formats': {
    law: 17,
    why: 'stock Cinder probes a raw base that a guest forged, or forgets what the base is (H14)',
  },
  'drift record': {
    law: 16,
    why: 'somebody else changed the chain or the status',
  },
} as const;

/** Histories of which a thousand worlds must show some, or a law holds for want of a case. */
export const SOMETIMES: readonly string[] = [
  'a snapshot is read',
  'a snapshot read while it is pulled away',
  'a recorded format',
  'a header of a live chain',
  'a header set back by a person',
  'a header set back by us',
  'a failed merge whose header is rewritten',
  'what a crash would leave when 90% is said',
  'a chain at rest',
  'Cinder is told created',
  'Cinder is told create-failed',
  'Cinder is told deleted',
  'Cinder is told delete-failed',
  'a progress set back to 0%',
  'live progress',
  'a create ends created',
  'a create ends failed',
  'a create ends withdrawn',
  'a create ends unknown',
  'a delete ends merged',
  'a delete ends failed',
  'a delete ends withdrawn',
  'a pull of ours completes',
  'a commit of ours completes',
  'a job of ours fails',
  'a pull cancelled by hand',
  'a commit cancelled by hand',
  'two volumes at once',
  'a request joined',
  'a request answered with a fault',
  'a request answered with a refused',
  'a snapshot that Cinder does not know',
  'a switch long after the request',
  'a create that Cinder gave up, in use',
  'a guest writes a header into its raw disk',
  'mend was journalled before',
  'unchain was journalled before',
  'a tenant changes a status',
  'cinder-volume killed while a snapshot is creating',
  'cinder-volume killed while a snapshot is deleting',
  'a merge done that no cinder-volume waited for',
  'a snapshot left deleting is force-deleted',
  'an admin force-deletes what is creating',
  'an admin force-deletes what is deleting',
  'an empty .info mended',
  'a torn .info mended',
  'a volume detached live',
  'a volume detached offline',
  'Cinder takes a snapshot offline',
  'Cinder commits offline',
  'a volume attached again',
  'an admin resets a status',
  'QEMU killed while a pull is copying',
  'QEMU killed while a commit is copying',
  'an overlay of a snapshot that is available',
  'a format at rest',
  'a file that Cinder heard may go',
  'a request is withdrawn from',
  'a pull of the files that were named',
  'a commit of the files that were named',
];

export type MissingGuard = keyof typeof MISSING_GUARDS;
