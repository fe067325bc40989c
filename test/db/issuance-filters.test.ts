import { createHash, randomBytes } from 'node:crypto';
import test from 'ava';
import type { Issuance } from '../../src/audit/issuance.ts';
import type { IssuanceFilter } from '../../src/audit/query.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const query = new PostgresIssuanceQuery(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

/** Records each in a moment of its own; so the last comes first. */
async function record(...given: readonly Issuance[]): Promise<void> {
  for (const one of given) await insertIssuances(database, [one]);
}

/** Which of `among` are found, by their place there, page by page. */
async function found(filter: IssuanceFilter, among: readonly Issuance[]): Promise<number[]> {
  const serials = among.map(({ serial }) => serial);
  const places: number[] = [];
  let cursor: string | null = null;
  do {
    const page = await query.search(filter, { limit: 2, cursor });
    places.push(...page.items.map(({ serial }) => serials.indexOf(serial)));
    cursor = page.nextCursor;
  } while (cursor !== null);
  return places;
}

async function revoke({ serial }: Issuance, revokedAt: string): Promise<void> {
  await database.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, not_before, not_after)
     VALUES ('root-x', 'root', 'active', 'root-x', 'ec-p256', '', now(), now()) ON CONFLICT DO NOTHING`,
  );
  await database.query(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor, revoked_at)
     VALUES (decode($1, 'hex'), 'root-x', now(), 'superseded', '', 'operator:test', $2)`,
    [serial, revokedAt],
  );
}

test('a prefix finds what begins so and nothing beside it, newest first', async (t) => {
  const given = ['/p/a', '/p/b', '/p', '/p/', '/p.', '/p0', '/q', '/p/a/b'].map((path) =>
    issuance({ identity: `spiffe://prefixes${path}` }),
  );
  await record(...given);
  t.deepEqual(await found({ identityPrefix: 'spiffe://prefixes/p/' }, given), [7, 3, 1, 0]);
  t.deepEqual(await found({ identityPrefix: 'spiffe://prefixes/p/a' }, given), [7, 0]);
  t.deepEqual(await found({ identityPrefix: 'spiffe://prefixes/' }, given), [7, 6, 5, 4, 3, 2, 1, 0]);
  t.deepEqual(await found({ identityPrefix: 'spiffe://prefixes/none' }, given), []);
});

test('a search that takes too long in all ends, and says what to narrow', async (t) => {
  let now = Date.now();
  // Each look at it is four seconds later, as on a database that is busy.
  const slow = new PostgresIssuanceQuery(database, () => {
    now += 4000;
    return now;
  });
  const filter = { identityPrefix: 'spiffe://prefixes/', profile: 'none' };
  await t.throwsAsync(slow.search(filter, { limit: 2, cursor: null }), {
    code: 'timeout',
    message: /identityPrefix, profile fit all, and finding them takes too long: give from and to/,
  });
});

test('a fingerprint is of the certificate or of its public key', async (t) => {
  const key = randomBytes(32);
  const given = [issuance(), issuance({ publicKeySha256: key }), issuance({ publicKeySha256: key })];
  await record(...given);
  const certificate = Buffer.from(given[0]?.certificateSha256 ?? '').toString('hex');
  t.deepEqual(await found({ fingerprint: certificate }, given), [0]);
  t.deepEqual(await found({ fingerprint: key.toString('hex') }, given), [2, 1]);
  t.deepEqual(await found({ fingerprint: '00'.repeat(32) }, given), []);
});

test('the fingerprint of a key that signs tokens finds what it signed', async (t) => {
  const publicKey = randomBytes(91);
  await database.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, public_key, not_before, not_after)
     VALUES ('jwt-f', 'jwt', 'active', 'jwt-f', 'ec-p256', $1, now(), now())`,
    [publicKey],
  );
  const publicKeySha256 = createHash('sha256').update(publicKey).digest();
  const given = [0, 1].map(() => issuance({ publicKeySha256, authority: 'jwt-f', profile: 'jwt-svid' }));
  await record(...given, issuance({ profile: 'jwt-svid' }));
  const fingerprint = publicKeySha256.toString('hex');
  t.deepEqual(await found({ fingerprint }, given), [1, 0]);
  t.deepEqual(await found({ fingerprint, authority: 'issuing-0a1b2c3d' }, given), []);
});

test('an instance is found by its whole name', async (t) => {
  const given = ['container:ab', 'container:abc', 'container:ab'].map((instance) => issuance({ instance }));
  await record(...given);
  t.deepEqual(await found({ instance: 'container:ab' }, given), [2, 0]);
});

test('requester, profile and version of the entry are filters', async (t) => {
  const base = { entryId: 'words', node: 'words' };
  const given = [
    issuance({ ...base, requester: 'agent:words', entryVersion: 1 }),
    issuance({ ...base, requester: 'kubernetes:csr/words', entryVersion: 2 }),
    issuance({ ...base, requester: 'agent:words', profile: 'words-profile', entryVersion: 2 }),
    issuance({ ...base, requester: 'agent:elsewhere', node: null, entryVersion: null }),
  ];
  await record(...given);
  t.deepEqual(await found({ requester: 'agent:words' }, given), [2, 0]);
  t.deepEqual(await found({ requester: 'kubernetes:csr/words' }, given), [1]);
  t.deepEqual(await found({ requester: 'agent:elsewhere' }, given), [3]);
  t.deepEqual(await found({ profile: 'words-profile' }, given), [2]);
  t.deepEqual(await found({ entry: 'words', entryVersion: 2 }, given), [2, 1]);
  t.deepEqual(await found({ entry: 'words', requester: 'agent:words', profile: 'x509-svid' }, given), [0]);
});

test('valid at a time is neither expired nor revoked then; unexpired is either way', async (t) => {
  const identity = 'spiffe://validity/a';
  const now = Date.now();
  const at = (hours: number): Date => new Date(now + hours * 3_600_000);
  const life = (from: number, to: number): Issuance =>
    issuance({ identity, notBefore: at(from), notAfter: at(to) });
  const given = [
    life(-1, 1),
    life(-1, 0.5),
    life(0.5, 2),
    // A CA's, of years.
    life(-1, 5 * 365 * 24),
    // Of weeks.
    life(-1, 24 * 29),
  ];
  await record(...given);
  await revoke(given[0] as Issuance, at(0.25).toISOString());
  await revoke(given[4] as Issuance, at(0.25).toISOString());
  t.deepEqual(await found({ identity, validAt: at(0.2) }, given), [4, 3, 1, 0]);
  t.deepEqual(await found({ identity, validAt: at(0.3) }, given), [3, 1]);
  t.deepEqual(await found({ identity, unexpiredAt: at(0.3) }, given), [4, 3, 1, 0]);
  t.deepEqual(await found({ identity, unexpiredAt: at(1) }, given), [4, 3, 2, 0]);
  t.deepEqual(await found({ identity, unexpiredAt: at(24 * 28) }, given), [4, 3]);
  t.deepEqual(await found({ identity, unexpiredAt: at(24 * 300) }, given), [3]);
  t.deepEqual(await found({ identity, validAt: at(-2) }, given), []);
  t.deepEqual(await found({ identity, revoked: true }, given), [4, 0]);
  t.deepEqual(await found({ identity, revoked: false }, given), [3, 2, 1]);
  t.deepEqual(await found({ identity, revoked: true, unexpiredAt: at(24 * 28) }, given), [4]);
});
