import { randomBytes } from 'node:crypto';
import test from 'ava';
import { migrate } from '../../src/db/migrate.ts';
import { PostgresTokenUses, pruneTokenUses } from '../../src/db/token-uses.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

const MINUTE_MS = 60_000;
/** Two servers, with a role that doesn't own the tables. */
const created = await createDatabase('empty');
const role = `runtime_${randomBytes(6).toString('hex')}`;
await administer(`CREATE ROLE ${role} LOGIN`);
const url = urlOf(new URL(created.url).pathname.slice(1), role);
await migrate({ url, ownerUrl: created.url, log });
const [a, b] = [openDatabase(url), openDatabase(url)];
test.after.always(async () => {
  await a.close();
  await b.close();
  await created.drop();
  await administer(`DROP ROLE ${role}`);
});

test.serial('of two servers that are shown one token at once, one takes it', async (t) => {
  const servers = [new PostgresTokenUses(a), new PostgresTokenUses(b)];
  const until = Date.now() + MINUTE_MS;
  for (let round = 0; round < 10; round++) {
    const sha256 = randomBytes(32);
    const asked = Array.from({ length: 6 }, (_, i) => servers[i % 2]?.isFirst(sha256, until));
    t.is((await Promise.all(asked)).filter(Boolean).length, 1);
    t.false(await new PostgresTokenUses(b).isFirst(sha256, until), 'nor does one that was started since');
  }
});

test.serial('past the limit no token is taken, and none is forgotten that has not ended', async (t) => {
  await a.query('DELETE FROM token_use');
  const uses = new PostgresTokenUses(a, 2);
  const [ended, lives, late] = [randomBytes(32), randomBytes(32), randomBytes(32)];
  t.true(await uses.isFirst(ended, Date.now() - 6 * MINUTE_MS));
  t.true(await uses.isFirst(lives, Date.now() - 4 * MINUTE_MS));
  await t.throwsAsync(uses.isFirst(late, Date.now() + MINUTE_MS), { code: 'overloaded' });
  t.false(await uses.isFirst(lives, Date.now()));
  await pruneTokenUses(b);
  t.true(await uses.isFirst(late, Date.now() + MINUTE_MS));
  t.false(await uses.isFirst(lives, Date.now()), 'a server whose clock is behind would take it again');
});
