import { ensurePackages } from './packages.ts';

/** Before any live test: the packages that one of them may need. */
export async function setup(): Promise<void> {
  const services = { cinder: true, nova: true, network: true, keystone: true };
  await ensurePackages({ ...services, browser: true, clients: true, clean: true });
}
