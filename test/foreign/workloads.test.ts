import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { encodeBundle } from '../../src/identity/bundle-document.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { createAuthorities } from '../ca/authorities.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { buildGo, hasGo } from '../support/go.ts';
import { until } from '../support/until.ts';
import { venvProgram } from '../support/venv.ts';

/** What a workload saw, by its own count. */
interface Totals {
  readonly handshakes: number;
  readonly tokens: number;
  readonly serials: readonly string[] | null;
  readonly roots: readonly string[] | null;
  /** Other trust domains. */
  readonly federated?: readonly string[] | null;
  readonly failures: readonly string[] | null;
}

/** Another trust domain, by a bundle that was set by hand. */
const OTHER = 'carnet.test';

/** Programs that know the Workload API by their own libraries, unchanged. */
const WORKLOADS: readonly {
  readonly library: string;
  readonly isHere: () => boolean;
  readonly command: () => [string, ...string[]];
  readonly federated?: readonly string[];
}[] = [
  {
    library: 'go-spiffe',
    isHere: hasGo,
    command: () => [buildGo(join(import.meta.dirname, 'go'), 'foreign')],
    federated: [OTHER],
  },
  {
    library: 'py-spiffe',
    isHere: () => true,
    command: () => [venvProgram('python'), join(import.meta.dirname, 'python/workload.py')],
  },
];
/** The first certificate, and three that replace it. */
const SERIALS = 4;

for (const { library, isHere, command, federated } of WORKLOADS)
  test.serial(
    `${library}: mTLS and tokens over three leaf rotations and a root rotation, without one failure`,
    async (t) => {
      if (!isHere()) {
        t.log('left out: there is no Go on this machine');
        return t.pass();
      }
      const [program, ...args] = command();
      await using carnet = await startCarnet(['--leaf-ttl', '12s', '--rotation-hold', '2s']);
      await federate(carnet);
      const workload = startWorkload(program, args, carnet.agentSocket);
      try {
        const { id } = await workload.first;
        const issued = async (): Promise<number> => {
          const query = new URLSearchParams({ identity: id, limit: '100' });
          const { items } = (await carnet.call('GET', `/v1/issuances?${query}`)) as {
            items: { profile: string }[];
          };
          return items.filter(({ profile }) => profile === 'x509-svid').length;
        };
        await until(`${SERIALS} leaves are issued`, async () => (await issued()) >= SERIALS);
        const rotated = await carnet.cli('root', 'rotate', '--reason', 'test');
        t.is(rotated.code, 0, rotated.stderr);
        const before = await issued();
        await until('another leaf is issued', async () => (await issued()) > before);
      } finally {
        workload.stop();
      }
      const { handshakes, tokens, serials, roots, failures, ...rest } = await workload.totals;
      t.log(`${handshakes} handshakes, ${tokens} tokens, ${serials?.length} serials, ${roots?.length} roots`);
      t.deepEqual(failures ?? [], []);
      t.true((serials?.length ?? 0) > SERIALS && roots?.length === 2);
      t.true(handshakes > SERIALS && tokens > SERIALS);
      if (federated !== undefined) t.deepEqual(rest.federated, federated);
    },
  );

/** Has whoever runs the tests federate with the other trust domain. */
async function federate(carnet: CarnetProcess): Promise<void> {
  const { root } = await createAuthorities('ec-p256');
  const bundle = {
    trustDomain: parseTrustDomain(OTHER),
    sequence: 1,
    x509Sequence: 1,
    x509Authorities: [root.stored.certificate],
    crls: [],
    jwtAuthorities: [],
  };
  const file = join(carnet.dataDir, 'other.json');
  await writeFile(file, JSON.stringify(encodeBundle(bundle, 300)));
  for (const command of [
    ['federation', 'create', OTHER, '--bundle', file],
    ['entry', 'create', '--id', 'federated', '--spiffe-id', '/federated', '--federates-with', OTHER],
  ]) {
    const selector = command[0] === 'entry' ? ['--selector', `unix:uid:${process.getuid?.()}`] : [];
    const { code, stderr } = await carnet.cli(...command, ...selector);
    if (code !== 0) throw new Error(stderr);
  }
}

function startWorkload(program: string, args: readonly string[], socket: string) {
  const child: ChildProcess = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const first = Promise.withResolvers<{ id: string }>();
  let totals: Totals | undefined;
  const lines = createInterface({ input: child.stdout ?? process.stdin });
  lines.on('line', (line) => {
    const document = JSON.parse(line) as { x509?: { id: string }; totals?: Totals };
    if (document.x509 !== undefined) first.resolve(document.x509);
    totals = document.totals ?? totals;
  });
  const ended = Promise.all([once(child, 'exit'), once(lines, 'close')]).then(() => {
    const error = new Error(`the workload ended: ${said}`);
    first.reject(error);
    if (totals === undefined) throw error;
    return totals;
  });
  ended.catch(() => undefined);
  return { first: first.promise, totals: ended, stop: () => child.kill('SIGTERM') };
}
