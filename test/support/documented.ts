import { readFileSync } from 'node:fs';
import fastify, { type FastifyInstance } from 'fastify';
import { parse } from 'yaml';

/** Answers held against docs/openapi.yaml, by the JSON Schema validator that Fastify has. */

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
  readonly $ref?: string;
}
interface Document {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly responses: Readonly<Record<string, Content>> }>>
    >
  >;
  readonly components: {
    readonly responses: Readonly<Record<string, Content>>;
    readonly schemas: Readonly<Record<string, object>>;
  };
}
export const FILE = new URL('../../docs/openapi.yaml', import.meta.url);
export const DOCUMENT: Document = parse(readFileSync(FILE, 'utf8'));

export interface Watched {
  /** `METHOD path status` of each answer that the document has. */
  readonly seen: Set<string>;
  /** What an answer was that the document does not have. */
  readonly wrong: string[];
}

/** Looks at each answer that an app of ours gives from now on. */
export function watchAnswers(app: FastifyInstance, { seen, wrong }: Watched): void {
  app.addHook('onSend', async ({ method, routeOptions }, reply, payload) => {
    const path = (routeOptions.url ?? '').replace(/:(\w+)(?:\([^)]*\))?/g, '{$1}');
    const operation = DOCUMENT.paths[path]?.[method.toLowerCase()];
    if (operation === undefined) return;
    const { statusCode: status } = reply;
    const about = `${method} ${path} ${status}`;
    const type = String(reply.getHeader('content-type') ?? '').split(';')[0] ?? '';
    const problem = judge(resolved(operation.responses, status), type, String(payload ?? ''));
    if (problem === null) seen.add(about);
    else wrong.push(`${about}: ${problem}`);
  });
}

/** What is wrong with this value, by a schema of the document. */
export function judgeAs(schema: object, value: unknown): string | null {
  const validate = compile(schema);
  return validate(value) ? null : JSON.stringify(validate.errors);
}

function judge({ content }: Content, type: string, text: string): string | null {
  if (content === undefined) return text === '' ? null : 'there is a body';
  const schema = content[type]?.schema;
  if (schema === undefined) return `its type is ${type}`;
  return type === 'application/json' ? judgeAs(schema, JSON.parse(text)) : null;
}

function resolved(responses: Readonly<Record<string, Content>>, status: number): Content {
  const said = responses[status] ?? responses.default ?? {};
  const name = said.$ref?.split('/').at(-1);
  return name === undefined ? said : (DOCUMENT.components.responses[name] ?? {});
}

type Validate = ((value: unknown) => boolean) & { readonly errors?: unknown };
const compile = await validator();
/** By the schema itself: its text, with all that it may name, is long. */
const compiled = new WeakMap<object, Validate>();

/** Fastify hands it out with a request only. */
async function validator(): Promise<(schema: object) => Validate> {
  const customOptions = {
    removeAdditional: false,
    coerceTypes: false,
    useDefaults: false,
  } as const;
  const app = fastify({ ajv: { customOptions: { ...customOptions, allErrors: true } } });
  let make: ((schema: object) => Validate) | null = null;
  app.get('/', async (request) => {
    make = (schema) => request.compileValidationSchema(schema as Record<string, unknown>);
    return {};
  });
  await app.inject('/');
  return (schema) => {
    const known = compiled.get(schema);
    if (known !== undefined) return known;
    const whole = { ...schema, $defs: DOCUMENT.components.schemas };
    const text = JSON.stringify(whole).replaceAll('#/components/schemas/', '#/$defs/');
    const made = make?.(JSON.parse(text)) as Validate;
    compiled.set(schema, made);
    return made;
  };
}
