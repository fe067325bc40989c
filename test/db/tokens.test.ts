import { randomBytes } from 'node:crypto';
import test from 'ava';
import { listEvents } from '../../src/db/operator-events.ts';
import { PostgresTokenStore } from '../../src/db/tokens.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const tokens = new PostgresTokenStore(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

test.serial('a token is found by its hash, listed, and revoked once', async (t) => {
  const sha256 = randomBytes(32);
  const expiresAt = new Date('2030-01-01T00:00:00.000Z');
  const token = await tokens.create(
    { name: 'ci', role: 'auditor', scopes: null, expiresAt, sha256 },
    'operator:ann',
  );
  t.like(token, { name: 'ci', role: 'auditor', scopes: null, expiresAt, revokedAt: null });
  t.deepEqual(await tokens.find(sha256), token);
  t.is(await tokens.find(randomBytes(32)), undefined);
  t.deepEqual(await tokens.list(), [token]);
  const revoked = await tokens.revoke(token.id, 'operator:bob');
  t.true(revoked.revokedAt instanceof Date);
  t.deepEqual(await tokens.revoke(token.id, 'operator:cat'), revoked);
  t.deepEqual(await tokens.find(sha256), revoked);
  const { items } = await listEvents(database, { limit: 10, cursor: null });
  t.deepEqual(
    items.filter(({ subject }) => subject === token.id).map(({ actor, action }) => [actor, action]),
    [
      ['operator:bob', 'token.revoke'],
      ['operator:ann', 'token.create'],
    ],
  );
  t.false(items.some(({ after }) => JSON.stringify(after).includes('sha256')));
});

test.serial('a name is never given twice, also after the token was revoked', async (t) => {
  const create = (): Promise<{ id: string }> =>
    tokens.create(
      { name: 'once', role: 'admin', scopes: null, expiresAt: null, sha256: randomBytes(32) },
      'operator:ann',
    );
  const { id } = await create();
  await tokens.revoke(id, 'operator:ann');
  t.is(errorCodeOf(await t.throwsAsync(create())), 'already_exists');
});

test.serial('a token that is not there cannot be revoked', async (t) => {
  t.is(errorCodeOf(await t.throwsAsync(tokens.revoke('none', 'operator:ann'))), 'not_found');
});

test.serial('the use of a token is noted once a minute, in order', async (t) => {
  const sha256 = randomBytes(32);
  const { id } = await tokens.create(
    { name: 'used', role: 'operator', scopes: ['entries:read'], expiresAt: null, sha256 },
    'operator:ann',
  );
  const at = (seconds: number) => new Date(Date.parse('2030-01-01T00:00:00Z') + seconds * 1000);
  for (const [second, noted] of [
    [0, 0],
    [59, 0],
    [60, 60],
    [30, 60],
  ] as const) {
    await tokens.used(id, at(second));
    t.like(await tokens.find(sha256), { lastUsedAt: at(noted), scopes: ['entries:read'] });
  }
});
