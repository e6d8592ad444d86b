/**
 * libvirt's numbers for the layers of a guest's disks, the `N` of `vda[N]`: one row for the whole
 * guest, begun anew at each start, and no number is given twice (measured).
 */
export class Indexes {
  #last = 0;

  next(): number {
    return ++this.#last;
  }

  restart(): void {
    this.#last = 0;
  }
}
