import { randomBytes } from 'node:crypto';
import test from 'ava';
import { createDomain } from '../federation/domain.ts';
import { joinTokenFor, launchAgent } from '../support/agent.ts';
import { startCarnet } from '../support/carnet.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const UID = process.getuid?.() ?? 0;

test.serial(
  "everything that a server does it may do with a role of its own, which doesn't own the tables",
  async (t) => {
    t.timeout(300_000);
    const database = await createDatabase('empty');
    const role = `runtime_${randomBytes(6).toString('hex')}`;
    await administer(`CREATE ROLE ${role} LOGIN`);
    try {
      const grpc = `127.0.0.1:${await freePort()}`;
      const federation = await freePort();
      await using carnet = await startCarnet(
        [
          ...['--database-url', urlOf(new URL(database.url).pathname.slice(1), role)],
          ...['--database-owner-url', database.url, '--grpc-addr', grpc],
          ...['--federation-addr', `127.0.0.1:${federation}`, '--federation-profile', 'http'],
          ...['--jwt-key-hold', '1s', '--federation-refresh-hint', '5s', '--jwt-ttl', '5s'],
        ],
        { CARNET_KEY_ENCRYPTION_KEY: randomBytes(32).toString('hex') },
      );
      const run = async (...words: string[]): Promise<string> => {
        const { code, stdout, stderr } = await carnet.cli(...words);
        t.is(code, 0, `${words.join(' ')}: ${stderr}`);
        return stdout;
      };
      const foreign = await createDomain('b.test');
      await carnet.call('POST', '/v1/federation', { trust_domain: 'b.test', bundle: foreign.document() });
      await carnet.call('POST', '/v1/entries', {
        id: 'web',
        spiffe_id: '/web',
        selectors: [`unix:uid:${UID}`],
        federates_with: ['b.test'],
        hint: 'internal',
      });
      t.is((await fetch(`http://127.0.0.1:${federation}/`)).status, 200);
      await using agent = await launchAgent({ servers: grpc, joinToken: await joinTokenFor(carnet, 'far') });
      await agent.ready();
      for (const socket of [carnet.agentSocket, agent.socket]) {
        await until('its identity is there', async () => {
          const { code } = await carnet.cli('fetch', '--agent-socket', socket);
          return code === 0;
        });
        await run('jwt', 'fetch', '--agent-socket', socket, '--audience', 'reports');
      }
      await run('jwt', 'rotate', '--hold', '0s', '--reason', 'test');
      await run('root', 'rotate', '--issuing', '--hold', '0s', '--reason', 'test');
      await run('root', 'rotate', '--hold', '0s', '--reason', 'test');
      await run('root', 'taint', '--hold', '0s', '--yes', '--reason', 'test');
      await until('the agent is still one of ours', async () => {
        const { code } = await carnet.cli(
          'jwt',
          'fetch',
          '--agent-socket',
          agent.socket,
          '--audience',
          'more',
        );
        return code === 0;
      });
      await run('revoke', '--identity', 'spiffe://carnet.local/other', '--yes', '--reason', 'test');
      await run('federation', 'delete', 'b.test');
      await run('agents', 'ban', 'far', '--reason', 'test');
      await run('agents', 'unban', 'far');
      t.notRegex(carnet.log(), /permission denied|42501|internal/i);
    } finally {
      await database.drop();
      await administer(`DROP ROLE ${role}`);
    }
  },
);
