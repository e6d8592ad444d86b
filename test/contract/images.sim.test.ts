import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { SimImages } from '#sim/images.ts';
import { SimNode } from '#sim/node.ts';
import { CLUSTER_BYTES, SimShare } from '#sim/share.ts';
import { imagesContract, SIZE } from './images.ts';

imagesContract('sim', async () => {
  const share = new SimShare();
  const clusters = SIZE / CLUSTER_BYTES;
  return {
    images: new SimImages(share, parseHeader),
    directory: share.directory,
    async raw(name) {
      return share.create(name as FileName, { format: RAW, clusters }).name;
    },
    async overlay(name, { backing, format }) {
      return share.create(name as FileName, { clusters, backing, backingFormat: format }).name;
    },
    async openForWriting(file) {
      new SimNode(share, share.file(file)!, QCOW2, null);
    },
    async [Symbol.asyncDispose]() {},
  };
});
