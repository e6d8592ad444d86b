import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cloudNamed } from '#adapters/keystone/clouds.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ck-clouds-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (name: string, text: string): string => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};
const places = (env: Record<string, string> = {}) => ({
  cwd: join(folder, 'here'),
  env: { HOME: join(folder, 'home'), ...env },
});
const options = (name: string, env?: Record<string, string>) => {
  const cloud = cloudNamed(name, places(env));
  return cloud.ok ? Object.fromEntries(cloud.value.options) : cloud.error;
};
const CLOUDS = `clouds:
  lab:
    auth:
      auth_url: http://k:5000
      username: me
      project_name: demo
    region_name: R
    endpoint_type: internalURL
    cacert: /ca.pem
    verify: false
    networks: [ { name: a } ]
  credential:
    auth_type: v3applicationcredential
    auth: { auth_url: 'http://k', application_credential_id: i, application_credential_secret: s }
`;

describe('clouds.yaml', () => {
  test("is told in keystoneauth's words, with what secure.yaml adds", () => {
    put('here/clouds.yaml', CLOUDS);
    put('here/secure.yaml', 'clouds: { lab: { auth: { password: 123456 } } }');
    expect(options('lab')).toEqual({
      auth_type: 'password',
      auth_url: 'http://k:5000',
      username: 'me',
      password: '123456',
      project_name: 'demo',
      region_name: 'R',
      interface: 'internalURL',
      cafile: '/ca.pem',
      insecure: 'true',
    });
    expect(options('credential')).toMatchObject({ auth_type: 'v3applicationcredential' });
  });

  test('is the first that there is: named, here, at home', () => {
    const one = (region: string) => `clouds: { it: { region_name: ${region} } }`;
    const from = (env = {}) => options('it', env);
    put('home/.config/openstack/clouds.yaml', one('home'));
    expect(from()).toMatchObject({ region_name: 'home' });
    put('here/clouds.yml', one('here'));
    expect(from()).toMatchObject({ region_name: 'here' });
    const named = put('elsewhere.yaml', one('named'));
    expect(from({ OS_CLIENT_CONFIG_FILE: named })).toMatchObject({ region_name: 'named' });
    put('xdg/openstack/clouds.yaml', one('xdg'));
    rmSync(join(folder, 'here'), { recursive: true });
    expect(from({ XDG_CONFIG_HOME: join(folder, 'xdg') })).toMatchObject({ region_name: 'xdg' });
  });

  test('that cannot be used is told, without its words', () => {
    expect(options('lab')).toContain(`there is no clouds.yaml in ${join(folder, 'here')}, `);
    const path = put('here/clouds.yaml', CLOUDS);
    expect(options('toString')).toBe(`${path} has no cloud 'toString': there are lab, credential`);
    put('here/clouds.yaml', 'clouds: { lab: { profile: vexxhost } }');
    expect(options('lab')).toContain('a profile');
    for (const text of [
      'clouds: {}\n}hunter22',
      'clouds: { lab: *hunter22 }',
      'clouds: [hunter22',
    ]) {
      put('here/clouds.yaml', text);
      expect(options('lab')).toMatch(/clouds.yaml is no YAML \([A-Z_]+\)$/);
    }
  });
});

test('OS_* are a cloud of their own, and those of our options are none of it', () => {
  const env = {
    OS_AUTH_URL: 'http://k',
    OS_USERNAME: 'me',
    OS_TENANT_NAME: 'demo',
    OS_CACERT: '/ca.pem',
    OS_PASSWORD: '',
    OS_CINDER__PASSWORD: 'ours',
    PATH: '/bin',
  };
  expect(options('envvars', env)).toEqual({
    auth_type: 'password',
    auth_url: 'http://k',
    username: 'me',
    project_name: 'demo',
    cafile: '/ca.pem',
  });
});
