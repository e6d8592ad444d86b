import type { FileName, ServerId, SnapshotId, VolumeId } from './ids.ts';
import { explainToOperator, type OperatorRefusal } from './operator-refusal.ts';
import type { HeaderFlaw } from './qcow2.ts';

/** We will not start: the request does not fit what we see. Nothing has changed. */
export type Refusal =
  | { readonly kind: 'bad-request'; readonly problem: string }
  | { readonly kind: 'unknown-volume'; readonly volume: VolumeId }
  | { readonly kind: 'other-volume'; readonly snapshot: SnapshotId; readonly volume: VolumeId }
  | {
      readonly kind: 'wrong-status';
      readonly snapshot: SnapshotId;
      readonly status: string;
      readonly needed: string;
    }
  | { readonly kind: 'other-name'; readonly snapshot: SnapshotId; readonly file: FileName }
  | { readonly kind: 'other-snapshot'; readonly own: FileName; readonly file: FileName }
  | { readonly kind: 'other-arguments'; readonly snapshot: SnapshotId; readonly state: string }
  | { readonly kind: 'unsettled'; readonly snapshot: SnapshotId; readonly reason: string }
  | { readonly kind: 'not-attached'; readonly volume: VolumeId }
  | { readonly kind: 'attached-twice'; readonly volume: VolumeId; readonly times: number }
  /** `host`: where Cinder says that it is. */
  | { readonly kind: 'guest-not-found'; readonly server: ServerId; readonly host?: string }
  | { readonly kind: 'guest-saved'; readonly server: ServerId }
  | { readonly kind: 'disk-not-found'; readonly server: ServerId; readonly volume: VolumeId }
  | {
      readonly kind: 'ambiguous-disk';
      readonly server: ServerId;
      readonly volume: VolumeId;
      readonly targets: readonly string[];
    }
  | { readonly kind: 'unsupported-source'; readonly target: string; readonly source: string }
  | { readonly kind: 'encrypted'; readonly target: string; readonly why: string }
  | { readonly kind: 'encrypted-and-off'; readonly target: string; readonly server: ServerId }
  | { readonly kind: 'remote-and-off'; readonly target: string; readonly server: ServerId }
  | { readonly kind: 'foreign-job'; readonly target: string; readonly job: string }
  | { readonly kind: 'active-differs'; readonly cinder: FileName; readonly live: FileName }
  | { readonly kind: 'unknown-format'; readonly file: FileName }
  | {
      readonly kind: 'format-differs';
      readonly file: FileName;
      readonly live: string;
      readonly expected: string;
    }
  | { readonly kind: 'broken-chain'; readonly file: FileName; readonly problem: string }
  | { readonly kind: 'chain-too-deep'; readonly depth: number; readonly limit: number }
  | { readonly kind: 'other-directory'; readonly file: FileName; readonly directory: string }
  | { readonly kind: 'already-in-chain'; readonly file: FileName }
  | { readonly kind: 'not-in-chain'; readonly file: FileName; readonly chain: readonly FileName[] }
  | { readonly kind: 'not-adjacent'; readonly top: FileName; readonly into: FileName }
  | { readonly kind: 'top-is-active'; readonly top: FileName }
  | {
      readonly kind: 'not-one-layer';
      readonly active: FileName;
      readonly onto: FileName | null;
      readonly between: number;
    }
  | {
      readonly kind: 'overlay-refused';
      readonly file: FileName;
      readonly flaws: readonly HeaderFlaw[];
    }
  | {
      readonly kind: 'header-disagrees';
      readonly file: FileName;
      readonly says: string;
      readonly live: string;
    }
  | {
      readonly kind: 'agent-not-connected';
      readonly server: ServerId;
      readonly agent: 'not connected' | 'not configured';
    }
  | {
      readonly kind: 'size-differs';
      readonly file: FileName;
      readonly size: number;
      readonly disk: number;
    }
  | OperatorRefusal;

/** We tried, and the world said no. */
export type Fault =
  /** Nothing was started; trying again is safe. */
  | { readonly kind: 'unreachable'; readonly who: Outside; readonly detail: string }
  /** It answered no; `code` is libvirt's error code, Cinder's HTTP status, an errno's name. */
  | {
      readonly kind: 'rejected';
      readonly who: Outside;
      readonly detail: string;
      readonly code: number | string;
    }
  /** Nobody knows whether it happened: look again. */
  | { readonly kind: 'unknown'; readonly who: Outside; readonly detail: string };

/** Whom we depend on. */
export type Outside = 'libvirt' | 'Cinder' | 'Keystone' | 'the share' | 'qemu-img' | 'the journal';

/** One sentence for the operator: what was seen, and what to do about it. */
export function explain(refusal: Refusal): string {
  switch (refusal.kind) {
    case 'bad-request':
      return refusal.problem;
    case 'unknown-volume':
      return `Cinder knows no volume ${refusal.volume}: check the id.`;
    case 'other-volume':
      return (
        `Snapshot ${refusal.snapshot} belongs to volume ${refusal.volume}, not to the one ` +
        'named: ask for the volume it belongs to.'
      );
    case 'wrong-status':
      return (
        `Snapshot ${refusal.snapshot} is ${refusal.status} in Cinder, not ` +
        `${refusal.needed}: ask through Cinder, which sets the status first.`
      );
    case 'other-name':
      return (
        `${refusal.file} is not an overlay that Cinder makes for snapshot ${refusal.snapshot}: ` +
        'its name must end in a dot and the id of the snapshot.'
      );
    case 'other-snapshot':
      return (
        `The request fits ${refusal.file}, but the snapshot's own file is ${refusal.own}, which ` +
        'is in the chain too: what another snapshot needs would be merged. Delete the snapshot ' +
        'again through Cinder.'
      );
    case 'other-arguments':
      return (
        `Snapshot ${refusal.snapshot} already has a request with other arguments ` +
        `(${refusal.state}): see 'chainkeeper ops list', and compare Cinder's .info file with ` +
        'the live chain before trying again.'
      );
    case 'unsettled':
      return (
        `The outcome of an earlier request for snapshot ${refusal.snapshot} is unknown ` +
        `(${refusal.reason}): compare 'chainkeeper chain show' with Cinder before trying again.`
      );
    case 'not-attached':
      return `Volume ${refusal.volume} is not attached to any server: Cinder can do this itself.`;
    case 'attached-twice':
      return (
        `Volume ${refusal.volume} has ${refusal.times} attachments (multi-attach or a live ` +
        'migration): wait until it has one.'
      );
    case 'guest-not-found':
      return (
        `No guest ${refusal.server} is defined on this host: send the request to ` +
        `${refusal.host ?? 'the host that runs it'}.`
      );
    case 'guest-saved':
      return (
        `Guest ${refusal.server} is suspended, and its memory was saved along with the files ` +
        'that its disks had: resume it and ask again.'
      );
    case 'disk-not-found':
      return (
        `Guest ${refusal.server} has no disk with serial ${refusal.volume}: check the ` +
        'attachment.'
      );
    case 'ambiguous-disk':
      return (
        `Guest ${refusal.server} has ${refusal.targets.length} disks with serial ` +
        `${refusal.volume} (${refusal.targets.join(', ')}): detach all but one.`
      );
    case 'unsupported-source':
      return (
        `Disk ${refusal.target} has a source of type ${refusal.source}, whose files cannot ` +
        'be checked from here yet: snapshot this volume while it is detached.'
      );
    case 'encrypted':
      return (
        `Disk ${refusal.target} is encrypted in a way that is not supported (${refusal.why}): ` +
        'snapshot this volume while it is detached.'
      );
    case 'encrypted-and-off':
      return (
        `Disk ${refusal.target} is encrypted and guest ${refusal.server} is shut off, so no QEMU ` +
        'has the key: start the guest and ask again, or detach the volume.'
      );
    case 'remote-and-off':
      return (
        `Disk ${refusal.target} is a network disk and guest ${refusal.server} is shut off, and ` +
        'QEMU locks no file over a network: start the guest and ask again, or detach the volume.'
      );
    case 'foreign-job':
      return (
        `Disk ${refusal.target} has a ${refusal.job} job that chainkeeper did not start: ` +
        'wait until it ends, or end it with virsh blockjob.'
      );
    case 'active-differs':
      return (
        `Cinder believes that ${refusal.cinder} is in use but the guest writes to ` +
        `${refusal.live}: see 'chainkeeper chain show' and settle the difference first.`
      );
    case 'unknown-format':
      return (
        `libvirt does not name the format of ${refusal.file} and none was recorded for it: ` +
        'give the disk a <driver type> or <format type>; it is never guessed.'
      );
    case 'format-differs':
      return (
        `The guest has ${refusal.file} as ${refusal.live}, and it was made as ` +
        `${refusal.expected}: see 'chainkeeper chain show', and find out who started the guest so.`
      );
    case 'broken-chain':
      return (
        `The guest is shut off, so its chain is what the headers say, and ${refusal.file} ` +
        `${refusal.problem}: see 'chainkeeper chain show', or start the guest and ask again.`
      );
    case 'chain-too-deep':
      return (
        `The chain would have ${refusal.depth} layers and the limit is ${refusal.limit}: ` +
        'delete snapshots first, or raise [libvirt] max_chain_depth.'
      );
    case 'other-directory':
      return (
        `${refusal.file} lies in ${refusal.directory}, not beside the active file: a ` +
        "volume's files must share one directory."
      );
    case 'already-in-chain':
      return `${refusal.file} is already part of this volume's chain: name a new, empty overlay.`;
    case 'not-in-chain':
      return (
        `${refusal.file} is not in this volume's chain (${refusal.chain.join(' on ')}): ` +
        "compare with Cinder's .info file."
      );
    case 'not-adjacent':
      return (
        `${refusal.top} does not sit directly on ${refusal.into}: compare Cinder's .info ` +
        'file with the live chain.'
      );
    case 'top-is-active':
      return (
        `${refusal.top} is the file that the guest writes to: it can be pulled into, not ` +
        'committed away.'
      );
    case 'not-one-layer':
      return (
        `Between ${refusal.active} and ${refusal.onto ?? 'the end of the chain'} there are ` +
        `${refusal.between} layers, and a delete merges exactly one: compare Cinder's .info file ` +
        'with the live chain.'
      );
    case 'overlay-refused':
      if (refusal.flaws.some(({ kind }) => kind === 'missing')) {
        return (
          `The new file ${refusal.file} cannot be used, because it is not there: check its name, ` +
          'and that the share it was made on is mounted on this host.'
        );
      }
      return (
        `The new file ${refusal.file} is not a safe overlay: ` +
        `${refusal.flaws.map((flaw) => flaw.says).join('; ')}. Delete this snapshot and make ` +
        'another.'
      );
    case 'header-disagrees':
      return (
        `The header of ${refusal.file} names ${refusal.says} as its backing file but the ` +
        `guest has ${refusal.live} there: see 'chainkeeper chain show' before anything else.`
      );
    case 'agent-not-connected':
      return (
        `The agent of guest ${refusal.server} is ${refusal.agent} and [libvirt] quiesce is ` +
        'required: have qemu-guest-agent run in the guest, or set quiesce to auto.'
      );
    case 'size-differs':
      return (
        `${refusal.file} has a virtual size of ${refusal.size} bytes and the disk has ` +
        `${refusal.disk}: merging it would change what the guest reads.`
      );
    case 'has-begun':
    case 'has-ended':
    case 'not-ended':
    case 'at-work':
    case 'unknown-snapshot':
    case 'waits':
    case 'contradicted':
      return explainToOperator(refusal);
  }
}

/** One sentence for the operator about a fault. */
export function explainFault(fault: Fault): string {
  switch (fault.kind) {
    case 'unreachable':
      return `${fault.who} cannot be reached (${fault.detail}): nothing was changed, try again.`;
    case 'rejected':
      return `${fault.who} refused (${fault.code}): ${fault.detail}`;
    case 'unknown':
      return (
        `${fault.who} gave no clear answer (${fault.detail}): the outcome is looked up, ` +
        'not guessed.'
      );
  }
}
