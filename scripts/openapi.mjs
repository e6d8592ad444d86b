// `npm run openapi`: writes docs/openapi.yaml anew, of what the routes say of themselves.
import { writeFileSync } from 'node:fs';
import { openapiText } from '../src/openapi.ts';

writeFileSync(new URL('../docs/openapi.yaml', import.meta.url), openapiText());
process.stderr.write('docs/openapi.yaml was written.\n');
