import { DIALECTS } from '#domain/status.ts';
import { cinderLab } from './cinder-lab.ts';
import { volumesContract } from './volumes.ts';

for (const knows of DIALECTS) {
  volumesContract(`sim, ${knows} Cinder`, async () => {
    const { cloud, lab } = cinderLab(knows);
    return { ...lab, volumes: cloud.volumes, async [Symbol.asyncDispose]() {} };
  });
}
