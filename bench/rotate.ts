import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BatchRecorder, RECORDER_LIMITS } from '../src/audit/record.ts';
import { createIssue } from '../src/ca/issue.ts';
import { parseKeyEncryptionKey } from '../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../src/ca/sealed-key-store.ts';
import { startAgent } from '../src/cli/start-agent.ts';
import { systemClock } from '../src/clock.ts';
import { PostgresAuthorityStore } from '../src/db/authorities.ts';
import { listConsumers, PostgresFleetStore } from '../src/db/consumers.ts';
import { insertIssuances } from '../src/db/issuances.ts';
import { parseTrustDomain } from '../src/identity/spiffe-id.ts';
import { createLogger } from '../src/log.ts';
import { createMetrics } from '../src/metrics.ts';
import { EntryIndex } from '../src/policy/entry-index.ts';
import { type ApplyOptions, applyPlan } from '../src/rotation/apply.ts';
import { Authorities } from '../src/rotation/authorities.ts';
import { startOrResume } from '../src/rotation/operate.ts';
import { startBenchDatabase } from './support/database.ts';
import { startFleet } from './support/fleet.ts';
import { formatTable, machine } from './support/table.ts';
import { attestationOf, ENTRY } from './support/workload.ts';

const TRUST_DOMAIN = parseTrustDomain('carnet.local');
const DAY_MS = 86_400_000;
/** An agent serves so many at most (agent/caller-socket.ts: the limit on one user's connections). */
const PROXIES_OF_AN_AGENT = 4000;
/** As src/cli/schedule.ts looks at a rotation. */
const LOOK_MS = 1000;
const CONNECT_TIMEOUT_MS = 300_000;
const ROTATE_TIMEOUT_MS = 600_000;

/**
 * `npm run bench -- rotate [--proxies N]`: the root of so many connected SDS clients is rotated, from the command to
 * the old root retired: each acknowledges the new bundle, gets a leaf under it, recorded, and acknowledges that.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { proxies: { type: 'string', default: '2000' } } });
  const proxies = Number(values.proxies);
  process.stdout.write(`${machine()}\n`);
  await using bench = await startBench(proxies);
  const rows: (string | number)[][] = [];
  for (const taint of [false, true]) {
    const begin = performance.now();
    await bench.start(taint);
    const times = new Map<string, number>();
    while (!times.has('retire')) {
      if (performance.now() - begin > ROTATE_TIMEOUT_MS) throw new Error('the rotation did not end in time');
      for (const step of await bench.look()) times.set(step, (performance.now() - begin) / 1000);
      if (!times.has('retire')) await pause(LOOK_MS);
    }
    const at = (step: string): number => times.get(step) ?? 0;
    rows.push([taint ? 'taint' : 'rotate', at('publish'), at('activate'), at('retire')]);
  }
  process.stdout.write(
    `${proxies} SDS clients, a connection each, in processes of their own on the same CPUs; to the agents each is a\n` +
      'container of its own, by a stand-in for attestation. Seconds since the command.\n\n' +
      `${formatTable(['', 'published', 'all acknowledged: activated', 'all leaves replaced: retired'], rows)}\n` +
      'Aim: under 60 s with 10,000 clients.\n',
  );
}

interface Bench extends AsyncDisposable {
  start(taint: boolean): Promise<void>;
  /** The steps that were taken now. */
  look(): Promise<string[]>;
}

async function startBench(proxies: number): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const { database, directory } = stack.use(await startBenchDatabase());
  const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
  const store = new PostgresAuthorityStore(database);
  const authorities = new Authorities(store, keys, TRUST_DOMAIN);
  const options: ApplyOptions = {
    store,
    keys,
    trustDomain: TRUST_DOMAIN,
    schedule: {
      rootTtlMs: 365 * DAY_MS,
      issuingTtlMs: 7 * DAY_MS,
      rootShare: null,
      issuingShare: null,
      holdSeconds: 60,
    },
    rootKeyType: 'ec-p256',
    issuingKeyType: 'ec-p256',
    backdateSeconds: 30,
    clock: systemClock,
  };
  await applyPlan(options, 'bench');
  await authorities.refresh();
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(database, batch),
    RECORDER_LIMITS,
    () => performance.now(),
  );
  stack.defer(() => recorder.close());
  const issue = createIssue({
    activeAuthority: () => authorities.active(),
    recorder,
    clock: systemClock,
    defaultTtlSeconds: 3600,
    backdateSeconds: 30,
  });
  const entries = new EntryIndex([ENTRY]);
  const agents: Awaited<ReturnType<typeof startAgent>>[] = [];
  let callers = 0;
  for (let first = 0; first < proxies; first += PROXIES_OF_AN_AGENT) {
    const [node, socket] = [`bench-${first}`, join(directory, `agent-${first}.sock`)];
    const agent = await startAgent({
      socket,
      node,
      issue,
      grantsOf: ({ selectors }) => entries.authorize(selectors),
      bundle: () => authorities.bundle(),
      isSuperseded: (id) => authorities.isSuperseded(id),
      fleet: new PostgresFleetStore(database, node, socket),
      clock: systemClock,
      log: createLogger('error'),
      metrics: createMetrics(),
      attest: () => Promise.resolve(attestationOf(callers++)),
    });
    stack.defer(() => agent.close());
    agents.push(agent);
    const fleet = startFleet(socket, Math.min(PROXIES_OF_AN_AGENT, proxies - first));
    stack.defer(() => fleet.stop());
  }
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  const ready = async (): Promise<number> =>
    (await listConsumers(database)).filter(
      (one) => one.bundleAcknowledged !== null && one.authorities.length > 0,
    ).length;
  while ((await ready()) < proxies) {
    if (performance.now() > deadline) throw new Error('the proxies did not connect in time');
    await pause(LOOK_MS);
  }
  authorities.onBundleChange(() => {
    for (const agent of agents) agent.instances.bundleChanged();
  });
  const owned = stack.move();
  return {
    start: (taint) =>
      startOrResume(options, {
        kind: 'root',
        handsFree: true,
        taint,
        crossSign: false,
        holdSeconds: null,
        actor: 'bench',
        reason: '',
      }),
    look: async () => {
      const steps = await applyPlan(options, 'bench');
      await authorities.refresh();
      return steps.map(({ kind }) => kind);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
