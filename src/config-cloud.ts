import { cloudNamed } from '#adapters/keystone/clouds.ts';
import type { Read } from './config-files.ts';
import { LOGIN } from './config-help.ts';
import { mergeSections, type Sections } from './oslo-config.ts';
import type { Environment } from './oslo-options.ts';

/** What a cloud says besides the login; the rest of [cinder] stays as the files have it. */
const ALSO = ['auth_type', 'region_name', 'interface', 'endpoint_override'] as const;
const TLS = ['cafile', 'certfile', 'keyfile', 'insecure'] as const;

/** The files with [cinder] as a person's cloud has it, where one was named. */
export function withCloud(read: Read, name: string | undefined, env: Environment): Read {
  if (name === undefined) return read;
  const cloud = cloudNamed(name, { cwd: process.cwd(), env });
  if (!cloud.ok) return { ...read, mistakes: [...read.mistakes, `--os-cloud: ${cloud.error}`] };
  const { options, where } = cloud.value;
  // Nothing of the file's login may mix with it; an option set to nothing is not set.
  const unset = [...Object.keys(LOGIN), ...ALSO, ...TLS, 'valid_interfaces', 'endpoint'];
  const cinder = unset.map((option) => {
    const value = (options.get(option) ?? '').replaceAll('$', '$$$$');
    return [option, [{ value, where: `${where} (${name})` }]] as const;
  });
  const section: Sections = new Map([['cinder', new Map(cinder)]]);
  return { ...read, sections: mergeSections([read.sections, section]) };
}
