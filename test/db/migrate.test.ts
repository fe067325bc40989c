import { randomBytes } from 'node:crypto';
import test from 'ava';
import { migrate } from '../../src/db/migrate.ts';
import { ensurePartitions } from '../../src/db/partitions.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

test('of several servers that start at once one migrates, and the others find it done', async (t) => {
  const { url, drop } = await createDatabase('empty');
  const ran = await Promise.all([1, 2, 3].map(() => migrate({ url, ownerUrl: null, log })));
  t.is(ran.flat().length, new Set(ran.flat()).size);
  t.true(ran.flat().length > 0);
  t.deepEqual(await migrate({ url, ownerUrl: null, log }), []);
  await drop();
});

test('an owner that is no superuser can migrate, and several servers can be let in at once', async (t) => {
  const created = await createDatabase('empty');
  const name = new URL(created.url).pathname.slice(1);
  const [owner, runtime] = ['owner', 'runtime'].map((role) => `${role}_${randomBytes(6).toString('hex')}`);
  await administer(`CREATE ROLE ${owner} LOGIN`);
  await administer(`CREATE ROLE ${runtime} LOGIN`);
  await administer(`ALTER DATABASE ${name} OWNER TO ${owner}`);
  const [url, ownerUrl] = [urlOf(name, runtime), urlOf(name, owner)];
  await Promise.all([1, 2, 3].map(() => migrate({ url, ownerUrl, log })));
  const database = openDatabase(url);
  t.deepEqual(await database.query('SELECT id FROM issuance'), []);
  t.is(errorCodeOf(await t.throwsAsync(migrate({ url, ownerUrl: null, log }))), 'internal');
  await database.close();
  await created.drop();
  await administer(`DROP ROLE ${owner}`);
  await administer(`DROP ROLE ${runtime}`);
});

test('a database that is not there is database_unavailable', async (t) => {
  const url = urlOf('there_is_none');
  t.is(errorCodeOf(await t.throwsAsync(migrate({ url, ownerUrl: null, log }))), 'database_unavailable');
});

test('the months to come have partitions, and a month whose rows are in the net keeps them there', async (t) => {
  const { url, drop } = await createDatabase();
  const database = openDatabase(url);
  const names = async (): Promise<string[]> =>
    (
      await database.query<{ name: string }>(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'operator_event'::regclass ORDER BY 1",
      )
    ).map(({ name }) => name);
  const before = await names();
  t.is(before.length, 4);
  t.deepEqual(await ensurePartitions(database), []);
  const [current, next] = before;
  await database.query(`DROP TABLE ${next}`);
  await database.query(
    `INSERT INTO operator_event (actor, action, subject, reason, recorded_at)
     VALUES ('a', 'b', 'c', '', date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 month')`,
  );
  t.deepEqual(await ensurePartitions(database), []);
  t.deepEqual(
    await names(),
    before.filter((name) => name !== next),
  );
  t.is((await database.query('SELECT id FROM operator_event_default')).length, 1);
  await database.query(`DROP TABLE ${current}`);
  t.deepEqual(await ensurePartitions(database), [current]);
  await t.throwsAsync(database.query(`DELETE FROM ${current}`), { message: /is append-only/ });
  await database.close();
  await drop();
});
