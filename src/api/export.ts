import { Readable } from 'node:stream';
import { z } from 'zod';
import { EXPORT_KINDS, type ExportFilter, type ExportSource, exportText } from '../audit/export.ts';
import { EXPORT_FORMATS, type LineForm } from '../audit/export-line.ts';
import type { LeafRange } from '../audit/log/subtree.ts';
import type { LogReader } from '../audit/log-store.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { TextInput, TimeInput } from './fields.ts';
import { identityOf, identityPrefixOf } from './issuances.ts';
import { defineRoute, type Route } from './route.ts';
import { Streamed } from './streamed.ts';

const MEDIA_TYPES = {
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
} as const;
/** At the same time on one server: each takes CPU time from issuance. */
const MAX_EXPORTS = 4;

const IndexInput = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number')
  .transform(Number)
  .meta({ type: 'integer', pattern: undefined, minimum: 0 });

const ExportQuery = z.strictObject({
  format: z.enum(EXPORT_FORMATS).optional().meta({ description: '`ndjson` if not given' }),
  full: z.enum(['true', 'false']).optional().meta({
    description: 'With certificates, evidence, and as `record` the bytes that the leaf hash is of',
  }),
  size: IndexInput.optional().meta({
    description:
      "Of the log's entries the first so many: of the checkpoint that is to cover it. The latest if not given",
  }),
  from_index: IndexInput.optional().meta({
    description: 'Goes on with this entry: one more than the last that came. A CSV has no header then',
  }),
  to_index: IndexInput.optional().meta({
    description: 'Ends before this entry, for more to come by another request',
  }),
  from: TimeInput.optional().meta({ description: 'Recorded at or after' }),
  to: TimeInput.optional().meta({ description: 'Recorded before' }),
  identity: TextInput.optional().meta({ description: 'A whole SPIFFE ID, or a path in our trust domain' }),
  identity_prefix: TextInput.optional().meta({ description: 'How the SPIFFE ID, or its path, begins' }),
  instance: TextInput.optional(),
  node: TextInput.optional(),
  entry: TextInput.optional(),
  authority: TextInput.optional(),
});
type ExportQuery = z.output<typeof ExportQuery>;

export function exportRoutes(source: ExportSource, log: LogReader, trustDomain: TrustDomain): Route[] {
  let running = 0;
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/export/{kind}',
      name: 'exportHistory',
      access: 'auditor',
      evidence: true,
      summary: 'Export history',
      description:
        'One record a line, in the order of the log, each with its `index` there; of any length. To be able to go on after an end that came too early, and to have the same bytes again, take `/log/checkpoint` first and give its size. An answer that was cut off is not whole (RFC 9112 §8). Filters from `identity` on leave issuances only.',
      params: z.strictObject({ kind: z.enum(Object.keys(EXPORT_KINDS) as (keyof typeof EXPORT_KINDS)[]) }),
      query: ExportQuery,
      response: z.unknown().meta({ description: 'Lines' }),
      mediaType: MEDIA_TYPES.ndjson,
      otherMediaTypes: [MEDIA_TYPES.csv],
      handle: async ({ params: { kind }, query }) => {
        const filter = filterOf(EXPORT_KINDS[kind], query, trustDomain);
        const { size, ...range } = await rangeOf(query, log);
        if (running >= MAX_EXPORTS)
          throw new CarnetError('overloaded', `${MAX_EXPORTS} exports are under way: try again later`);
        const form: LineForm = { format: query.format ?? 'ndjson', full: query.full === 'true' };
        running++;
        const stream = await begun(exportText(source, filter, form, range)).catch((error: unknown) => {
          running--;
          throw error;
        });
        stream.once('close', () => running--);
        return new Streamed(stream, MEDIA_TYPES[form.format], { 'Carnet-Log-Size': String(size) });
      },
    }),
  ];
}

/** The first chunk is read before anything is answered: what fails then is a problem document. */
async function begun(chunks: AsyncGenerator<string>): Promise<Readable> {
  const first = await chunks.next();
  const all = async function* () {
    if (first.done !== true) yield first.value;
    yield* chunks;
  };
  return Readable.from(all(), { objectMode: false });
}

async function rangeOf(query: ExportQuery, log: LogReader): Promise<LeafRange & { size: number }> {
  const head = (await log.head())?.size ?? 0;
  const { size = head, from_index: start = 0, to_index: to } = query;
  if (size > head)
    throw new CarnetError('invalid_argument', `size=${size}: the log has ${head} entries so far`);
  const end = Math.min(size, to ?? size);
  if (start > end)
    throw new CarnetError('invalid_argument', `from_index=${start} is behind the ${end} entries to export`);
  return { start, end, size };
}

function filterOf(kinds: ExportFilter['kinds'], query: ExportQuery, trustDomain: TrustDomain): ExportFilter {
  const { from, to, instance, node, entry, authority } = query;
  const ofIssuances = { instance, node, entry, authority, ...identitiesOf(query, trustDomain) };
  const narrowed = Object.values(ofIssuances).some((value) => value !== undefined);
  if (narrowed && !kinds.includes('issuance'))
    throw new CarnetError(
      'invalid_argument',
      'only issuances have identity, instance, node, entry and authority',
    );
  return { kinds: narrowed ? ['issuance'] : kinds, from, to, ...ofIssuances };
}

function identitiesOf({ identity, identity_prefix: prefix }: ExportQuery, trustDomain: TrustDomain) {
  return {
    identity: identity && identityOf(identity, trustDomain),
    identityPrefix: prefix && identityPrefixOf(prefix, trustDomain),
  };
}
