import { readFileSync } from 'node:fs';

export const XML = new URL('./xml/', import.meta.url);

/** Real dumps; the first line of each says what it shows. */
export const dump = (file: string): string => readFileSync(new URL(file, XML), 'utf8');

const DEPTH_4 = [
  'file:a01.s4 qcow2 #5',
  'file:a01.s3 qcow2 #4',
  'file:a01.s2 qcow2 #3',
  'file:a01.s1 qcow2 #2',
  'file:a01 raw #1 |',
].join(' < ');
const PROBED = [
  'file:a01.s4 qcow2 #1',
  'file:a01.s3 qcow2 #2',
  'file:a01.s2 qcow2 #3',
  'file:a01.s1 qcow2 #4',
  'file:a01 raw #5 |',
].join(' < ');
const AFTER_COMMIT = [
  'file:a01.s4 qcow2 #1',
  'file:a01.s2 qcow2 #3',
  'file:a01.s1 qcow2 #4',
  'file:a01 raw #5 |',
].join(' < ');

const GLUSTER = [
  'vda network:ck/v.s3 qcow2 #4',
  'network:ck/v.s2 qcow2 #3',
  'network:ck/v.s1 qcow2 #2',
  'network:ck/v raw #1 |',
].join(' < ');

/**
 * What each file in xml/ holds, as the test sketches it: top first, `|` is libvirt's "nothing
 * below". The first line of a file says how it was made.
 */
export const DUMPS: Readonly<Record<string, readonly string[]>> = {
  '01-single-raw-live.xml': ['vda file:a01 raw #1 |'],
  '02-single-raw-transient-inactive.xml': ['vda file:a01 raw #1 |'],
  '03-raw-plus-one-overlay.xml': ['vda file:a01.s1 qcow2 #2 < file:a01 raw #1 |'],
  '04-depth-4-overlays.xml': [`vda ${DEPTH_4}`],
  '05-depth-4-inactive-view.xml': [`vda ${DEPTH_4}`],
  '06-restarted-with-top-only.xml': [`vda ${PROBED}`],
  // A running commit or pull is not in the XML.
  '07-mid-commit.xml': [`vda ${PROBED}`],
  '08-mid-commit-inactive.xml': ['vda file:a01.s4 qcow2 #1'],
  '09-mid-pull.xml': [
    'vda file:a01.s3 qcow2 #1 < file:a01.s2 qcow2 #2 < file:a01.s1 qcow2 #3 < file:a01 raw #4 |',
  ],
  '10-active-commit-copying.xml': [`vda ${AFTER_COMMIT} mirror=active-commit/null`],
  '11-active-commit-ready.xml': [`vda ${AFTER_COMMIT} mirror=active-commit/yes`],
  '12-block-copy-running.xml': [`vda ${AFTER_COMMIT} mirror=copy/null`],
  '13-after-inner-commit.xml': [
    'vda file:a01.s4 qcow2 #1 < file:a01.s1 qcow2 #4 < file:a01 raw #5 |',
  ],
  '14-after-pull-all.xml': ['vda file:a01.s4 qcow2 #1 |'],
  '15-shutoff-inactive.xml': ['vda file:a01 raw', 'vdb file:b02 qcow2', 'sda ro'],
  '16-two-disks-empty-cdrom-live.xml': [
    'vda file:a01 raw #3 |',
    'vdb file:b02 qcow2 #2 |',
    'sda ro',
  ],
  '17-two-disks-after-snapshot-live.xml': [
    'vda file:a01.snap1 qcow2 #4 < file:a01 raw #3 |',
    'vdb file:b02.snap1 qcow2 #5 < file:b02 qcow2 #2 |',
    'sda ro',
  ],
  '18-two-disks-after-snapshot-inactive.xml': [
    'vda file:a01.snap1 qcow2 < file:a01 raw',
    'vdb file:b02.snap1 qcow2 < file:b02 qcow2',
    'sda ro',
  ],
  '18b-two-disks-after-snapshot-migratable.xml': [
    'vda file:a01.snap1 qcow2 < file:a01 raw |',
    'vdb file:b02.snap1 qcow2 < file:b02 qcow2 |',
    'sda ro',
  ],
  '19-shutoff-after-snapshot-inactive.xml': [
    'vda file:a01.snap1 qcow2 < file:a01 raw',
    'vdb file:b02.snap1 qcow2 < file:b02 qcow2',
    'sda ro',
  ],
  '20-block-device-plus-overlay.xml': ['vda file:blk.s1 qcow2 #2 < block:loop0 raw #1 |'],
  '21-network-nbd.xml': ['vda network:exp1 raw #1'],
  '22-network-nbd-plus-overlay.xml': ['vda file:nbd.s1 qcow2 #2 < network:exp1 raw #1'],
  '23-network-and-odd-sources-inactive.xml': [
    'vda network:vol1/volume-6c6ad3a0 qcow2',
    'vdb network:volumes/volume-x raw',
    'vdc other:volume raw',
    'vdd other:nvme raw',
    'vde file:u qcow2 < network:vol1/base qcow2 |',
    'vdg file:ro raw shared',
    'vdh file:tr qcow2',
    'vdi block:sdz raw ro',
  ],
  '24-luks-qcow2-and-luks-raw.xml': [
    'vda file:lq qcow2 #3 luks |',
    'vdb file:lr raw #2 luks |',
    'vdc file:a01 raw #1 |',
  ],
  '25-luks-qcow2-plus-luks-overlay.xml': [
    'vda file:lq.s1 qcow2 #5 luks < file:lq qcow2 #3 luks |',
    'vdb file:lr raw #2 luks |',
    'vdc file:a01 raw #1 |',
  ],
  '26-after-libvirtd-restart-mid-commit.xml': [
    'vda file:c qcow2 #1 < file:b qcow2 #2 < file:a qcow2 #3 < file:v raw #4 |',
  ],
  '27-after-libvirtd-restart-active-commit-ready.xml': [
    'vda file:c qcow2 #1 < file:b qcow2 #2 < file:a qcow2 #3 < file:v raw #4 | ' +
      'mirror=active-commit/yes',
  ],
  '28-active-commit-pivoting-quirk.xml': ['vda file:e qcow2 #3 < file:c qcow2 #1 | mirror=/null'],
  '29-plain-overlay-on-luks-raw.xml': ['vda file:c qcow2 #4 < file:lr raw #1 luks |'],
  '30-gluster-plus-three-overlays.xml': [GLUSTER],
};
