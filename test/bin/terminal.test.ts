import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';

/** In a shell, as a person has it. */
function typed(line: string) {
  const node = `'${process.execPath}' bin/chainkeeper.js`;
  const words = ['--norc', '-c', `set -o pipefail; ${line.replaceAll('chainkeeper', node)}`];
  const env = { PATH: process.env.PATH, LC_ALL: 'C' };
  const { status, stdout, stderr } = spawnSync('bash', words, { encoding: 'utf8', env });
  return { status, stdout, stderr };
}

describe('whoever reads', () => {
  test('and has seen enough is left in peace', () => {
    const said = typed('chainkeeper manual 5 | head -1');
    expect(said).toMatchObject({ stdout: expect.stringMatching(/^[^\n]+\n$/), stderr: '' });
  });

  test('no more, because the disk is full, hears why', () => {
    expect(typed('chainkeeper config sample >/dev/full')).toEqual({
      status: 1,
      stdout: '',
      stderr:
        'chainkeeper: stdout cannot be written: its file system is full: free some room there\n',
    });
  });

  test('with a terminal that knows ASCII only sees nothing else', () => {
    const said = typed('chainkeeper manual 1');
    expect(said.stdout.length).toBeGreaterThan(5000);
    expect(said.stdout.match(/[^\x20-\x7e\n]/g)).toBe(null);
  });

  test('nothing of stderr gets what is on stdout all the same', () => {
    expect(typed('chainkeeper header /nowhere -c verdict -f value 2>&-')).toMatchObject({
      status: 3,
      stdout: 'refused\n',
    });
  });
});
