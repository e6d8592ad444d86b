import { Rest } from '#adapters/cinder/rest.ts';
import { CinderVolumes } from '#adapters/cinder/volumes.ts';
import { ok } from '#domain/result.ts';
import { DIALECTS } from '#domain/status.ts';
import { CinderHttp } from '#sim/cinder-http.ts';
import { cinderLab } from './cinder-lab.ts';
import { volumesContract } from './volumes.ts';

/** The real adapter, and a Cinder that knows what no released one does. */
for (const knows of DIALECTS) {
  volumesContract(`over HTTP, ${knows} Cinder`, async () => {
    const { cloud, lab } = cinderLab(knows);
    const http = await CinderHttp.open(cloud.cinder);
    const authorizer = {
      baseUrl: async () => ok(`${http.endpoint}/project`),
      headers: async () => ok({ 'X-Auth-Token': 'user:project' }),
      secrets: () => [],
    };
    const rest = new Rest({ authorizer });
    const volumes = new CinderVolumes({ rest, dialect: 'auto', telemetry: { log() {} } });
    return {
      ...lab,
      volumes,
      async [Symbol.asyncDispose]() {
        await rest[Symbol.asyncDispose]();
        await http[Symbol.asyncDispose]();
      },
    };
  });
}
