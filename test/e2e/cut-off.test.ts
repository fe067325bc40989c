import { randomBytes } from 'node:crypto';
import test from 'ava';
import { startCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { startDeafPostgres } from '../support/deaf-postgres.ts';
import { until } from '../support/until.ts';

test.serial('a replica that hears no notice catches up with entries and roots within its 30 s', async (t) => {
  t.timeout(400_000);
  const database = await createDatabase('empty');
  const env = { CARNET_KEY_ENCRYPTION_KEY: randomBytes(32).toString('hex') };
  const way = await startDeafPostgres(database.url);
  try {
    await using hearing = await startCarnet(['--database-url', database.url, '--log-level', 'warn'], env);
    await using deaf = await startCarnet(['--database-url', way.url, '--log-level', 'warn'], env);
    const sequenceAt = async (url: string): Promise<number> => {
      const bundle = (await (await fetch(`${url}/v1/bundle`)).json()) as { spiffe_sequence: number };
      return bundle.spiffe_sequence;
    };
    const identityAtDeaf = async (): Promise<string> => {
      const { code, stdout } = await deaf.cli('fetch', '--json', '--timeout', '5');
      return code === 0 ? stdout : '';
    };
    const change = async (id: string): Promise<number> => {
      await hearing.call('POST', '/v1/entries', {
        id,
        spiffe_id: `/${id}`,
        selectors: [`unix:uid:${process.getuid?.()}`, `unix:path:${process.execPath}`],
      });
      t.is((await hearing.cli('root', 'rotate', '--reason', id)).code, 0);
      return sequenceAt(hearing.url);
    };
    const arrival = async (id: string, sequence: number): Promise<number> => {
      const begin = performance.now();
      await until('the bundle is there', async () => (await sequenceAt(deaf.url)) === sequence);
      await until('the entry is there', async () => (await identityAtDeaf()).includes(`/${id}"`));
      return (performance.now() - begin) / 1000;
    };

    way.deaf = true;
    const missed = await change('missed');
    t.true(way.swallowed > 0);
    t.log(
      `${way.swallowed} notices swallowed; caught up after ${(await arrival('missed', missed)).toFixed(1)} s`,
    );
    way.deaf = false;
    const heard = await change('heard');
    t.log(`heard again: after ${(await arrival('heard', heard)).toFixed(1)} s`);
  } finally {
    way.close();
    await database.drop();
  }
});
