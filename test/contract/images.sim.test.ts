import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { SimImages } from '#sim/images.ts';
import { nodesFrom, SimNode } from '#sim/node.ts';
import { openChain } from '#sim/opening.ts';
import { CLUSTER_BYTES, SimShare } from '#sim/share.ts';
import { imagesContract, SIZE } from './images.ts';

imagesContract('sim', async () => {
  const share = new SimShare();
  const users: SimNode[] = [];
  const clusters = SIZE / CLUSTER_BYTES;
  return {
    images: new SimImages(share, parseHeader),
    directory: share.directory,
    async raw(name) {
      return share.create(name as FileName, { format: RAW, clusters }).name;
    },
    async overlay(name, { backing, format: backingFormat, luks = false }) {
      return share.create(name as FileName, { clusters, backing, backingFormat, luks }).name;
    },
    async write(file, format, at, byte) {
      const node = new SimNode(share, share.file(file)!, format, null);
      node.write(at, byte === 0 ? 'zero' : byte);
      node.flush();
      node.close();
    },
    async read(file, format) {
      const opened = openChain(share, share.file(file)!, format);
      if (!opened.ok) throw new Error(opened.error.message);
      const bytes = Array.from({ length: clusters }, (_, at) => Number(opened.value.read(at)));
      for (const node of nodesFrom(opened.value)) node.close();
      return bytes;
    },
    async openForWriting(file) {
      users.push(new SimNode(share, share.file(file)!, QCOW2, null));
    },
    async close() {
      for (const node of users.splice(0)) node.close();
    },
    async [Symbol.asyncDispose]() {},
  };
});
