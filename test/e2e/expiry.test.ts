import test from 'ava';
import { startCarnet } from '../support/carnet.ts';
import { startLoad } from '../support/load.ts';
import { startPair } from '../support/pair.ts';
import { until } from '../support/until.ts';

interface Authority {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
}

test.serial(
  'a root that nears its end and is not rotated is told of by metric, log and doctor',
  async (t) => {
    t.timeout(400_000);
    const lives = ['--root-ca-ttl', '80s', '--issuing-ca-ttl', '40s', '--leaf-ttl', '10s'];
    await using carnet = await startCarnet([
      ...lives,
      '--not-before-backdate',
      '0s',
      '--root-rotation',
      'off',
      '--log-level',
      'warn',
    ]);
    const metrics = async (): Promise<string> => (await fetch(`${carnet.url}/metrics`)).text();
    const end =
      /^carnet_authority_expiry_timestamp_seconds\{kind="root",id="[^"]+",state="active"\} (\d+)$/m.exec(
        await metrics(),
      );
    const left = Number(end?.[1]) - Date.now() / 1000;
    t.true(left > 0 && left <= 80, `${left} s left`);
    const doctor = async (): Promise<{ check: string; level: string; advice: string | null }[]> =>
      (await carnet.cli('doctor', '--json')).stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    t.deepEqual(
      (await doctor()).filter(({ check, level }) => check === 'authorities' && level !== 'ok'),
      [],
    );
    const line = 'the root CA nears its end and no rotation is under way: carnet root rotate';
    await until('the log says it', () => carnet.log().includes(line));
    const found = (await doctor()).filter(({ check, level }) => check === 'authorities' && level === 'warn');
    t.true(found.some(({ advice }) => advice?.includes('carnet root rotate') === true));
    t.is((await carnet.cli('root', 'rotate', '--reason', 'doctor said so')).code, 0);
    t.deepEqual(
      (await doctor()).filter(({ check, level }) => check === 'authorities' && level !== 'ok'),
      [],
    );
  },
);

test.serial(
  'the default schedule rotates roots unattended under Envoys, and no handshake fails',
  async (t) => {
    t.timeout(400_000);
    const lives = ['--root-ca-ttl', '72s', '--issuing-ca-ttl', '36s', '--leaf-ttl', '12s'];
    await using carnet = await startCarnet([...lives, '--not-before-backdate', '0s', '--log-level', 'warn']);
    const pair = await startPair({
      agentSocket: carnet.agentSocket,
      apiType: 'GRPC',
      trustDomain: 'carnet.local',
      register: (entry) => carnet.call('POST', '/v1/entries', entry),
    });
    const load = startLoad(pair.port, 30);
    try {
      const roots = async (): Promise<string[]> => {
        const { items } = (await carnet.call('GET', '/v1/authorities')) as { items: Authority[] };
        return items.filter(({ kind }) => kind === 'root').map(({ state }) => state);
      };
      await until('a first root is retired and its successor signs', async () => {
        const [first, second] = await roots();
        return first === 'retired' && second === 'active';
      });
      const enough = load.stats.handshakes + 60;
      await until('traffic went on', () => load.stats.handshakes >= enough);
      await load.stop();
      t.log(`${load.stats.handshakes} handshakes, ${load.stats.failures} failed`);
      t.deepEqual(load.stats.errors, []);
      t.is(load.stats.failures, 0);
    } finally {
      await load.stop();
      await pair.stop();
    }
  },
);
