import test from 'ava';
import { releaseLease, takeLease } from '../../src/db/leases.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

test('a lease is one holder’s until it is given back, and he may go on with it', async (t) => {
  t.true(await takeLease(database, 'given', 'a', 60));
  t.false(await takeLease(database, 'given', 'b', 60));
  t.true(await takeLease(database, 'given', 'a', 60));
  await releaseLease(database, 'given', 'b');
  t.false(await takeLease(database, 'given', 'b', 60));
  await releaseLease(database, 'given', 'a');
  t.true(await takeLease(database, 'given', 'b', 60));
});

test('a lease that has ended is anybody’s', async (t) => {
  t.true(await takeLease(database, 'ended', 'a', -1));
  t.true(await takeLease(database, 'ended', 'b', 60));
  t.false(await takeLease(database, 'ended', 'a', 60));
});

test('of many who ask at once one gets it', async (t) => {
  const asked = Array.from({ length: 20 }, (_, i) => takeLease(database, 'at once', `h${i}`, 60));
  t.is((await Promise.all(asked)).filter(Boolean).length, 1);
});
