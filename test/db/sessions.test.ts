import { randomBytes, randomUUID } from 'node:crypto';
import test from 'ava';
import type { Session } from '../../src/api/session.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { PostgresSessionStore, pruneSessions } from '../../src/db/sessions.ts';
import { PostgresTokenStore } from '../../src/db/tokens.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const tokens = new PostgresTokenStore(database);
const sessions = new PostgresSessionStore(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function newSession(fields: Partial<Session> = {}) {
  const now = Date.now();
  return {
    actor: `operator:${randomUUID()}`,
    role: 'auditor' as const,
    scopes: null,
    method: 'oidc' as const,
    tokenId: null,
    createdAt: new Date(now),
    expiresAt: new Date(now + 3600_000),
    sha256: randomBytes(32),
    ...fields,
  };
}

test.serial(
  'a session is found by its hash, used and ended, with an event of its beginning and its end',
  async (t) => {
    const input = newSession({ scopes: ['entries:read'] });
    const session = await sessions.create(input, { subject: 'sub-1' });
    t.like(session, {
      actor: input.actor,
      role: 'auditor',
      scopes: ['entries:read'],
      lastUsedAt: input.createdAt,
    });
    t.deepEqual(await sessions.find(input.sha256), session);
    t.is(await sessions.find(randomBytes(32)), undefined);
    await sessions.used(session.id, new Date(input.createdAt.getTime() + 30_000));
    t.deepEqual((await sessions.find(input.sha256))?.lastUsedAt, input.createdAt);
    const later = new Date(input.createdAt.getTime() + 90_000);
    await sessions.used(session.id, later);
    t.deepEqual((await sessions.find(input.sha256))?.lastUsedAt, later);
    await sessions.end(session.id, input.actor);
    await sessions.end(session.id, input.actor);
    t.is(await sessions.find(input.sha256), undefined);
    const { items } = await listEvents(database, { limit: 10, cursor: null });
    const own = items.filter(({ subject }) => subject === session.id);
    t.deepEqual(
      own.map(({ actor, action }) => [actor, action]),
      [
        [input.actor, 'session.end'],
        [input.actor, 'session.create'],
      ],
    );
    t.like(own[1]?.after, { subject: 'sub-1', role: 'auditor' });
    t.false(own.some(({ after }) => JSON.stringify(after).includes('sha256')));
  },
);

test.serial('a session is gone with its token, and none is opened with one that is', async (t) => {
  const token = await tokens.create(
    { name: 'opens', role: 'admin', scopes: null, expiresAt: null, sha256: randomBytes(32) },
    'operator:ann',
  );
  const input = newSession({ method: 'token', tokenId: token.id });
  await sessions.create(input, {});
  t.not(await sessions.find(input.sha256), undefined);
  await tokens.revoke(token.id, 'operator:ann');
  t.is(await sessions.find(input.sha256), undefined);
  const refused = await t.throwsAsync(sessions.create({ ...input, sha256: randomBytes(32) }, {}));
  t.is(errorCodeOf(refused), 'overloaded');
});

test.serial('of one who opens many, the oldest give way', async (t) => {
  const actor = 'operator:many';
  const now = Date.now();
  const inputs = Array.from({ length: 25 }, (_, i) => newSession({ actor, createdAt: new Date(now + i) }));
  for (const input of inputs) await sessions.create(input, {});
  const left: number[] = [];
  for (const [i, { sha256 }] of inputs.entries())
    if ((await sessions.find(sha256)) !== undefined) left.push(i);
  t.deepEqual(
    left,
    Array.from({ length: 20 }, (_, i) => i + 5),
  );
  const { items } = await listEvents(
    database,
    { limit: 100, cursor: null },
    { actor, action: 'session.end' },
  );
  t.is(items.length, 5);
});

test.serial('sessions that ended are forgotten, those that go on are not', async (t) => {
  const old = new Date(Date.now() - 30 * 60_000);
  const expired = newSession({ createdAt: new Date(), expiresAt: old });
  const idle = newSession({ createdAt: old });
  const live = newSession();
  for (const input of [expired, idle, live]) await sessions.create(input, {});
  const open = (await sessions.list(new Date(), new Date(Date.now() - 15 * 60_000))).map(
    ({ actor }) => actor,
  );
  t.deepEqual(
    [expired, idle, live].map(({ actor }) => open.includes(actor)),
    [false, false, true],
  );
  await pruneSessions(database);
  t.is(await sessions.find(expired.sha256), undefined);
  t.is(await sessions.find(idle.sha256), undefined);
  t.not(await sessions.find(live.sha256), undefined);
});
