import { ensurePackages } from './packages.ts';

/** Before any live test: the packages that one of them may need. */
export async function setup(): Promise<void> {
  const all = { cinder: true, nova: true, network: true, keystone: true, browser: true };
  await ensurePackages(all);
}
