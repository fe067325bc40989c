import test from 'ava';
import fc from 'fast-check';
import type { Issuance } from '../../src/audit/issuance.ts';
import type { IssuanceFilter, RecordedIssuance } from '../../src/audit/query.ts';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const query = new PostgresIssuanceQuery(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

/** Everything but the certificate's text is left to chance; \0 is what PostgreSQL can't hold. */
const text = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((value) => !value.includes('\0'));
const anyIssuance: fc.Arbitrary<Issuance> = fc
  .record({
    identity: text,
    dnsNames: fc.array(text, { maxLength: 5 }),
    notBefore: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
    notAfter: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
    certificate: fc.uint8Array({ minLength: 1, maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
    node: fc.option(text),
    instance: fc.option(text),
    evidence: fc.option(
      fc.dictionary(fc.constantFrom('uid', 'path', 'cgroup'), fc.oneof(text, fc.integer())),
    ),
    entryId: fc.option(text),
    entryVersion: fc.option(fc.integer({ min: 1, max: 2 ** 31 - 1 })),
  })
  .map((fields) => issuance({ ...fields, evidence: fields.evidence && { ...fields.evidence } }));

test('an issuance is read as it was recorded, field by field', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyIssuance, { minLength: 1, maxLength: 8 }), async (batch) => {
      await insertIssuances(database, batch);
      for (const given of batch) {
        const found = await query.get(given.serial);
        t.truthy(found);
        const { recordedAtMicros, revocation, entry, ...rest } = found as NonNullable<typeof found>;
        t.deepEqual(rest, given);
        t.true(recordedAtMicros > 0n);
        t.is(entry, null);
      }
    }),
    { numRuns: 40 },
  );
});

test('the time of recording is the clock of the database, to the microsecond', async (t) => {
  const given = issuance();
  const [before] = await database.query<{ now: string }>(NOW_MICROS);
  await insertIssuances(database, [given]);
  const [after] = await database.query<{ now: string }>(NOW_MICROS);
  const micros = (await query.get(given.serial))?.recordedAtMicros ?? 0n;
  t.true(BigInt(before?.now ?? 0) <= micros && micros <= BigInt(after?.now ?? 0));
});
const NOW_MICROS = 'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now';

for (const [what, fields] of [
  ['a zero byte in a text', { identity: 'a\0b' }],
  ['a serial of another length', { serial: 'abcd' }],
  ['a date that is none', { notAfter: new Date(Number.NaN) }],
  ['evidence that is no JSON', { evidence: { uid: 1n } }],
] as const)
  test(`a batch with ${what} is refused with invalid_argument, whole`, async (t) => {
    const good = issuance();
    const error = await t.throwsAsync(insertIssuances(database, [good, issuance(fields)]));
    t.is(errorCodeOf(error), 'invalid_argument');
    t.is(await query.get(good.serial), undefined);
  });

test('a detail has the version of the entry that granted it, also after the entry changed and went', async (t) => {
  const entries = new PostgresEntryStore(database);
  const input = {
    id: 'granting',
    spiffeId: 'spiffe://carnet.local/granting',
    selectors: [parseSelector('unix:uid:7')],
    dnsNames: [],
    ttlSeconds: 60,
    hint: null,
    federatesWith: [],
  };
  const granted = await entries.create(input, 'operator:test');
  await entries.apply([{ ...input, ttlSeconds: 120 }], 'operator:test');
  await entries.delete('granting', 'operator:test');
  const given = issuance({ entryId: granted.id, entryVersion: granted.version });
  await insertIssuances(database, [given]);
  t.deepEqual((await query.get(given.serial))?.entry, granted);
});

test('a serial that is unknown or none has no detail', async (t) => {
  t.is(await query.get('0'.repeat(32)), undefined);
  t.is(await query.get('../etc'), undefined);
});

test('the filters find what fits all of them exactly, newest first', async (t) => {
  const base = { identity: 'spiffe://filters/a', node: 'fn', instance: 'fi', entryId: 'fe', authority: 'fa' };
  const given = [
    issuance(base),
    issuance({ ...base, node: 'other' }),
    issuance({ ...base, instance: 'other' }),
  ];
  for (const one of given) await insertIssuances(database, [one]);
  const [first, second, third] = given.map(({ serial }) => serial);
  const found = async (filter: IssuanceFilter): Promise<string[]> =>
    (await query.search(filter, { limit: 10, cursor: null })).items.map(({ serial }) => serial);
  t.deepEqual(await found({ identity: base.identity }), [third, second, first]);
  t.deepEqual(await found({ entry: 'fe' }), [third, second, first]);
  t.deepEqual(await found({ authority: 'fa' }), [third, second, first]);
  t.deepEqual(await found({ node: 'fn' }), [third, first]);
  t.deepEqual(await found({ instance: 'fi' }), [second, first]);
  t.deepEqual(await found({ serial: second ?? '' }), [second]);
  t.deepEqual(await found({ node: 'fn', instance: 'fi' }), [first]);
  t.deepEqual(await found({ node: 'fn', instance: 'none' }), []);
});

test('from is inclusive and to exclusive', async (t) => {
  const identity = 'spiffe://from-to/a';
  await database.query(INSERT_AT, [identity, '2026-03-01T00:00:00Z']);
  await database.query(INSERT_AT, [identity, '2026-03-31T23:59:59.999999Z']);
  await database.query(INSERT_AT, [identity, '2026-04-01T00:00:00Z']);
  const march = { identity, from: new Date('2026-03-01T00:00:00Z'), to: new Date('2026-04-01T00:00:00Z') };
  const { items } = await query.search(march, { limit: 10, cursor: null });
  t.deepEqual(
    items.map(({ recordedAtMicros }) => recordedAtMicros),
    [1_775_001_599_999_999n, 1_772_323_200_000_000n],
  );
});

/** As only the owner can: at a time of the test's choice. */
const INSERT_AT = `INSERT INTO issuance (identity, recorded_at, not_before, not_after, serial, profile, dns_names,
  authority_id, public_key_sha256, certificate_sha256, certificate, requester)
  VALUES ($1, $2, now(), now(), uuid_send(gen_random_uuid()), 'workload', '{}', 'a', '', '', '', 'agent:test')`;

test('pages are stable while others record, also among rows of the same moment', async (t) => {
  const identity = 'spiffe://pages/a';
  const given = Array.from({ length: 57 }, () => issuance({ identity }));
  // A batch is one statement, and so one moment.
  for (let at = 0; at < given.length; at += 19) await insertIssuances(database, given.slice(at, at + 19));
  const seen: RecordedIssuance[] = [];
  let cursor: string | null = null;
  do {
    const page = await query.search({ identity }, { limit: 10, cursor });
    seen.push(...page.items);
    cursor = page.nextCursor;
    await insertIssuances(database, [issuance({ identity })]);
  } while (cursor !== null);
  t.deepEqual(
    seen.map(({ serial }) => serial),
    given.map(({ serial }) => serial).reverse(),
  );
});

test('the last page has no cursor, also where it is full', async (t) => {
  const identity = 'spiffe://last-page/a';
  await insertIssuances(database, [issuance({ identity }), issuance({ identity })]);
  t.is((await query.search({ identity }, { limit: 2, cursor: null })).nextCursor, null);
  t.not((await query.search({ identity }, { limit: 1, cursor: null })).nextCursor, null);
});

for (const limit of [0, -1, 1.5, 1001, Number.NaN])
  test(`refuses ${limit} for a limit`, async (t) => {
    const error = await t.throwsAsync(query.search({}, { limit, cursor: null }));
    t.is(errorCodeOf(error), 'invalid_argument');
  });

test('refuses a serial that is none, and a cursor that is none', async (t) => {
  const page = { limit: 1, cursor: null };
  t.is(errorCodeOf(await t.throwsAsync(query.search({ serial: 'xyz' }, page))), 'invalid_argument');
  t.is(errorCodeOf(await t.throwsAsync(query.search({}, { ...page, cursor: 'xyz' }))), 'cursor_invalid');
});
