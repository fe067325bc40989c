import test from 'ava';
import { joinTokenFor, launchAgent } from '../support/agent.ts';
import { administer } from '../support/database.ts';
import { freePort } from '../support/free-port.ts';
import { startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const UID = process.getuid?.() ?? 0;

test.serial(
  'after an older backup is restored, an agent that holds a later bundle takes what counts now',
  async (t) => {
    t.timeout(300_000);
    const grpc = `127.0.0.1:${await freePort()}`;
    await using replicas = await startReplicas(1, [
      '--grpc-addr',
      grpc,
      '--jwt-ttl',
      '5s',
      '--log-level',
      'warn',
    ]);
    const [carnet] = replicas.servers as [(typeof replicas.servers)[number]];
    await carnet.call('POST', '/v1/entries', {
      id: 'web',
      spiffe_id: '/web',
      selectors: [`unix:uid:${UID}`],
    });
    await using agent = await launchAgent({ servers: grpc, joinToken: await joinTokenFor(carnet, 'far') });
    await agent.ready();
    const token = async (): Promise<boolean> => {
      const words = ['jwt', 'fetch', '--agent-socket', agent.socket, '--audience', 'x'];
      return (await carnet.cli(...words)).code === 0;
    };
    await until('there is a token', token);
    const name = new URL(replicas.database.url).pathname.slice(1);
    await copy(name, `${name}_backup`);

    // What is lost: another key, by which alone tokens are verified from then on.
    t.is((await carnet.cli('jwt', 'rotate', '--hold', '0s', '--reason', 'test')).code, 0);
    await until('there is a token of the new key', token);
    await carnet.kill();
    await endSessions(name);
    await administer(`ALTER DATABASE ${name} RENAME TO ${name}_lost`);
    try {
      await administer(`ALTER DATABASE ${name}_backup RENAME TO ${name}`);
      await carnet.restart();
      await until('the agent verifies tokens of the old key again', token);
    } finally {
      await administer(`DROP DATABASE ${name}_lost WITH (FORCE)`);
    }
  },
);

/** As `pg_dump` and a restore would make it; a copy wants the original without sessions for its time. */
async function copy(name: string, to: string): Promise<void> {
  await administer(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
  await endSessions(name);
  await administer(`CREATE DATABASE ${to} TEMPLATE ${name}`);
  await administer(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
}

async function endSessions(name: string): Promise<void> {
  await administer(`SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '${name}'`);
}
