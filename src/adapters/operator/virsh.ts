import { find, type Layer, layersOf } from '#domain/chain.ts';
import type { PlanReport } from '#ports/inspect.ts';

/**
 * What a person would type to have the same done by hand: for those who know virsh, and for a night
 * in which the service does not start. None of the checks is in it. Empty where there is no such
 * command: libvirt has no path to name on a network disk, and virsh no word for the key of a new
 * overlay.
 */
export function virshFor(plan: PlanReport): readonly string[] {
  const { by, merge } = plan;
  if (!by.directory.startsWith('/')) return [];
  const path = (file: string) => quoted(`${by.directory}/${file}`);
  const [server, target] = [quoted(by.server), quoted(by.target)];
  if (merge === null) return by.encrypted ? [] : snapshot(plan, path);
  if (!by.running) return offline(plan, path);
  const wait = '--wait --verbose';
  if (merge.kind === 'commit') {
    const files = `--top ${path(merge.top)} --base ${path(merge.into)}`;
    return [`virsh blockcommit ${server} ${target} ${files} --keep-relative ${wait}`];
  }
  const onto = merge.onto === null ? '' : ` --base ${path(merge.onto)} --keep-relative`;
  return [
    `virsh blockpull ${server} ${target}${onto} ${wait}`,
    // A pull's tables are in QEMU's memory until then; the size is the one that the disk has.
    `virsh blockresize ${server} ${target} ${by.size}B`,
  ];
}

function snapshot(
  { by, after, mends }: PlanReport,
  path: (file: string) => string,
): readonly string[] {
  const { server, target, directory } = by;
  const { file } = after;
  const disk = `${target},snapshot=external,file=${directory}/${file},driver=qcow2`;
  // libvirt snapshots every disk that it is not told to leave alone.
  const others = `awk 'NR>2 && $1 && $1!="${target}" {print "--diskspec " $1 ",snapshot=no"}'`;
  return [
    ...(mends === null ? [] : [rebase(['-u'], mends, path(file))]),
    [
      `virsh snapshot-create-as ${quoted(server)} --no-metadata --disk-only --atomic`,
      `--reuse-external --diskspec ${quoted(disk)}`,
      `$(virsh domblklist ${quoted(server)} | ${others})`,
    ].join(' \\\n  '),
  ];
}

/** With the guest shut off: qemu-img, and a header at the end. */
function offline(
  { by, before, after, merge }: PlanReport,
  path: (file: string) => string,
): readonly string[] {
  const edit = `virsh edit ${quoted(by.server)} # no <backingStore> below ${before.file}`;
  if (merge?.kind === 'pull') {
    const onto = merge.onto === null ? null : find(before, merge.onto);
    return [edit, rebase(['-t', 'writethrough'], named(onto), path(before.file))];
  }
  if (merge === null) return [];
  const above = layersOf(after).find((layer) => layer.on?.file === merge.into);
  return [
    edit,
    `qemu-img commit -d -f qcow2 ${path(merge.top)}`,
    ...(above ? [rebase(['-u'], named(above.on), path(above.file))] : []),
  ];
}

interface Backing {
  readonly backing: string;
  readonly format: string;
}
const named = (layer: Layer | null): Backing | null =>
  layer && { backing: layer.file, format: layer.format };

const rebase = (flags: readonly string[], to: Backing | null, file: string): string => {
  const backing = to === null ? "-b ''" : `-b ${quoted(to.backing)} -F ${quoted(to.format)}`;
  return `qemu-img rebase ${flags.join(' ')} -f qcow2 ${backing} ${file}`;
};

/** For sh(1): as it is where nothing in it means anything there. */
const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
