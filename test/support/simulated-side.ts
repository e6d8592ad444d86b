import { type FileName, type Format, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import { ActiveCommit } from '#sim/active-commit.ts';
import { SimClock } from '#sim/clock.ts';
import { SimDisk } from '#sim/disk.ts';
import { SimGuest } from '#sim/guest.ts';
import { SimHypervisor } from '#sim/hypervisor.ts';
import { SimJob } from '#sim/job.ts';
import { type Bytes, nodesFrom } from '#sim/node.ts';
import { type Cluster, GARBAGE, type SimFile, SimShare } from '#sim/share.ts';
import type { Act, Made, Scene } from './acts.ts';
import type { History } from './histories.ts';
import { ANYTHING, codeOf, type Outcome, type State } from './side.ts';
import { forgedCell, type OnDisk } from './tables.ts';

const SERVER = 'guest' as ServerId;
const VOLUME = 'volume' as VolumeId;
const WHERE = { server: SERVER, volume: VOLUME };
const TICK_MS = 1;

/** The sim, with nothing of the product around it. */
export class SimulatedSide {
  readonly share: SimShare;
  readonly disk: SimDisk;
  readonly #clock = new SimClock();
  readonly #guest: SimGuest;
  readonly #hypervisor: SimHypervisor;
  #heard: string[] = [];

  constructor(past: History, directory: string) {
    this.share = new SimShare(directory);
    const { baseFormat, clusters, unmaps } = past;
    const base = this.share.create('base' as FileName, { format: baseFormat as Format, clusters });
    this.disk = new SimDisk(this.share, VOLUME, 'vda', base.name, base.format);
    this.disk.unmaps = unmaps;
    this.#guest = new SimGuest(SERVER, [this.disk]);
    const pace = { tickMs: TICK_MS, clustersPerTick: 1 };
    this.#hypervisor = new SimHypervisor({ clock: this.#clock, guests: [this.#guest], ...pace });
    this.#hypervisor.listen((one) => one.kind === 'job' && this.#heard.push(one.how));
    this.#hypervisor.start(SERVER);
  }

  scene(): Scene {
    const { disk, share } = this;
    const nodes = [...nodesFrom(disk.top)];
    const { job } = disk;
    const off = [{ file: disk.config.file as string, format: String(disk.config.format) }];
    return {
      running: disk.top !== null,
      chain:
        disk.top === null ? off : nodes.map((it) => ({ file: it.file.name, format: it.driver })),
      clusters: disk.bytes / 65_536,
      job: job === null ? 'none' : job.phase === 'ready' ? 'ready' : 'copying',
      pulling: job?.kind === 'pull',
      files: [...share.files.keys()],
      directory: share.directory,
      poisoned: nodes.some((it) => it.driver !== it.file.format),
    };
  }

  /** A job that is held up is brought `done` clusters far, or to its end when that is null. */
  async perform(act: Act, done: number | null): Promise<Outcome> {
    this.#heard = [];
    const code = await this.#do(act);
    const far = () => done !== null && (this.disk.job?.info()?.done ?? 0) >= done;
    while (this.disk.job !== null && this.disk.job.phase !== 'ready' && !far()) {
      await this.#clock.advance(TICK_MS);
    }
    return { code, heard: this.#heard, done, state: await this.state() };
  }

  async state(): Promise<State> {
    const { disk, share } = this;
    const seen = await this.#hypervisor.look(WHERE);
    if (!seen.ok || seen.value.kind !== 'disk') throw new Error('no disk');
    const { chain, job } = seen.value;
    const layers: string[] = [];
    for (let at: typeof chain | null = chain; at !== null; at = at.on) {
      layers.push(`${at.file} ${at.format}`);
    }
    const files = [...share.files.values()].map((file) => [file.name, fileOf(file)] as const);
    return {
      chain: layers,
      clusters: disk.bytes / 65_536,
      job: job === null ? 'none' : `${job.kind}${job.done === job.total ? ' ready' : ''}`,
      guest: disk.top === null ? null : disk.view().map(read),
      files: Object.fromEntries(files),
    };
  }

  async #do(act: Act): Promise<number | string> {
    const { disk } = this;
    switch (act.do) {
      case 'write':
        disk.write(act.at, act.byte);
        return 'ok';
      case 'zero':
        disk.writeZeroes(act.at);
        return 'ok';
      case 'unmap':
        disk.unmap(act.at);
        return 'ok';
      case 'discard':
        disk.discard(act.at);
        return 'ok';
      case 'flush':
        disk.flush();
        return 'ok';
      case 'forge':
        disk.forge(act.says);
        for (let at = 1; at < 4; at++) disk.write(at, 0);
        return 'ok';
      case 'barrier':
        return codeOf(await this.#hypervisor.flush(this.#seen()));
      case 'snapshot':
        return this.#snapshot(act.file, act.make);
      case 'pull':
        return this.#job(() => SimJob.pull(disk, { ...act, base: act.base as FileName }));
      case 'commit': {
        const call = { ...act, top: act.top as FileName, base: act.base as FileName };
        const kind = act.active ? ActiveCommit.of : SimJob.commit;
        return this.#job(() => kind(disk, call));
      }
      case 'abort': {
        return codeOf(this.#hypervisor.abort(WHERE, act));
      }
      case 'release':
        return 'ok';
      case 'kill':
      case 'stop':
        this.#hypervisor.end(SERVER, act.do === 'kill' ? 'killed' : 'stopped');
        return 'ok';
      case 'start': {
        const started = disk.start();
        if (started.ok) this.#hypervisor.start(SERVER);
        return codeOf(started);
      }
    }
  }

  async #snapshot(file: string, make: Made | null): Promise<number | string> {
    if (make !== null) {
      const { says, format, clusters } = make;
      const { backing, format: backingFormat } = says;
      const made = { format: format as Format, clusters, backing, backingFormat };
      this.share.create(file as FileName, made);
    }
    const { directory } = this.share;
    const { active, ...seen } = this.#seen();
    const order = { ...seen, directory, file: file as FileName, active };
    return codeOf(await this.#hypervisor.snapshot(order));
  }

  #job(
    begin: () => ReturnType<typeof SimJob.pull> | ReturnType<typeof ActiveCommit.of>,
  ): number | string {
    return codeOf(this.#hypervisor.begin(WHERE, begin));
  }

  #seen() {
    const { process } = this.#guest;
    const active = this.disk.top?.file.name ?? this.disk.config.file;
    return { ...WHERE, target: 'vda', process, active };
  }
}

const read = (bytes: Bytes): string =>
  bytes === GARBAGE
    ? ANYTHING
    : typeof bytes === 'number'
      ? String(bytes)
      : forgedCell(bytes.backing, bytes.format);

function fileOf({ format, header, clusters, content, places }: SimFile): OnDisk {
  const raw = format === RAW;
  const one = (cluster: Cluster, at: number): string => {
    if (cluster === 'absent') return raw ? '0' : '.';
    if (cluster === 'zero') return raw ? '0' : places.has(at) ? 'z' : 'Z';
    return read(cluster);
  };
  const cells = Array.from({ length: clusters }, (_, at) => one(content[at] ?? 'absent', at));
  if (header === null) return { header: null, cells };
  return {
    header: { backing: header.backing, format: header.format, clusters: header.clusters },
    cells,
  };
}
