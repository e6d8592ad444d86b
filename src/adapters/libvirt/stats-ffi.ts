import { promisify } from 'node:util';
import koffi from 'koffi';
import type { Pointer } from './ffi.ts';

type Library = ReturnType<typeof koffi.load>;

/** virDomainStatsTypes: what QEMU says of each disk. */
const BLOCK = 32;

/** virDomainStatsRecord. */
const RECORD = koffi.struct({ domain: 'void *', params: 'void *', count: 'int' });
/** virTypedParameter: the value is a number or the address of a string, as `type` says. */
const PARAMETER = koffi.struct({ field: koffi.array('char', 80), type: 'int', value: 'uint64' });
/** virTypedParameterType. */
const STRING = 7;

/** By name, as in `virsh domstats`: numbers, and what names a thing. */
export type Statistics = ReadonlyMap<string, string | number>;

export function statistics(library: Library) {
  const listGetStats = promisify(
    library.func('int virDomainListGetStats(void **all, uint stats, _Out_ void **to, uint flags)')
      .async,
  ) as (
    all: (Pointer | null)[],
    stats: number,
    to: (Pointer | null)[],
    flags: number,
  ) => Promise<number>;
  const free = library.func('void virDomainStatsRecordListFree(void *list)');
  return {
    /** Null when libvirt has an error to tell. */
    blockStats: async (domain: Pointer): Promise<Statistics | null> => {
      const to: (Pointer | null)[] = [null];
      const count = await listGetStats([domain, null], BLOCK, to, 0);
      const [list] = to;
      if (count < 0) return null;
      const found = new Map<string, string | number>();
      if (list == null) return found;
      const records: Pointer[] = koffi.decode(list, koffi.array('void *', count));
      for (const record of records) {
        const { params, count } = koffi.decode(record, RECORD);
        for (const { field, type, value } of koffi.decode(params, koffi.array(PARAMETER, count))) {
          found.set(
            field,
            type === STRING ? koffi.decode(BigInt(value), 'char', -1) : Number(value),
          );
        }
      }
      free(list);
      return found;
    },
  };
}
