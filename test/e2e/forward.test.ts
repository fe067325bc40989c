import type { ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { insertIssuances } from '../../src/db/issuances.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { event } from '../db/log-fixtures.ts';
import { type Arrivals, SyslogReceiver, Trust, WebhookReceiver } from '../forward/receivers.ts';
import { metric } from '../support/metrics.ts';
import { startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

interface SinkBody {
  readonly name: string;
  readonly target: string;
  readonly position: number;
  readonly lag_entries: number;
  readonly problem: string | null;
}

/** Some 400 records a second, of which each receiver keeps all. */
const PAUSE_MS = 100;

const trust = new Trust();
test.after.always(() => trust.remove());

test('two servers that are killed while they forward, receivers that hang, cut and go away: each gets all, in order', async (t) => {
  const webhook = await WebhookReceiver.listen(trust);
  t.teardown(() => webhook.close());
  const syslog = await SyslogReceiver.listen(trust);
  t.teardown(() => syslog.close());
  await using replicas = await startReplicas(2, [
    ...['--no-agent', '--grpc-addr', 'off'],
    ...flagsFor('webhook', webhook.url.href),
    ...['--forward-webhook-secret-file', trust.secretFile],
    ...flagsFor('syslog', `tls://127.0.0.1:${syslog.port}`),
  ]);
  const database = openDatabase(replicas.database.url, { maxConnections: 2 });
  t.teardown(() => database.close());
  const sinks = async (server = 0): Promise<SinkBody[]> => {
    const { items } = (await replicas.call(server, 'GET', '/v1/sinks')) as { items: SinkBody[] };
    return items;
  };
  let loading = true;
  const load = (async () => {
    let recorded = 0;
    while (loading) {
      await insertIssuances(
        database,
        Array.from({ length: 40 }, () => issuance()),
      );
      await insertEvents(database, [event()]);
      recorded += 41;
      await pause(PAUSE_MS);
    }
    return recorded;
  })();
  const passed = async (arrivals: Arrivals): Promise<void> => {
    const before = arrivals.lines.length;
    await until('more arrives', () => arrivals.lines.length > before);
  };
  await passed(webhook.arrivals);
  await passed(syslog.arrivals);
  for (const victim of replicas.servers) {
    await victim.kill();
    await passed(webhook.arrivals);
    await passed(syslog.arrivals);
    await victim.restart();
  }

  syslog.cutAfter = 10_000;
  const hung: ServerResponse[] = [];
  webhook.answer = (_, response) => void hung.push(response);
  await until('a cut is noticed', async () =>
    (await sinks()).some(({ name, problem }) => name === 'syslog' && problem),
  );
  const before = await sinks();
  await until('a thousand more are recorded and in the log, while nothing is taken', async () => {
    const now = await sinks();
    return now.every((sink, i) => sink.lag_entries > (before[i]?.lag_entries ?? 0) + 1000);
  });
  await until('the metrics of both servers tell', async () => {
    const lags = replicas.servers.map(({ url }) => metric(url, 'carnet_forward_lag_entries{sink="webhook"}'));
    return (await Promise.all(lags)).every((lag) => lag > 1000);
  });
  syslog.cutAfter = null;
  webhook.answer = (lines, response) => webhook.take(lines, response);
  for (const response of hung) response.destroy();
  loading = false;
  t.true((await load) > 0);
  const forwarded = await until('all is forwarded', async () => {
    const log = (await replicas.call(0, 'GET', '/v1/log')) as { size: number; waiting_since: string | null };
    const states = await sinks();
    return (
      log.waiting_since === null && states.every(({ position }) => position === log.size) && { log, states }
    );
  });
  for (const arrivals of [webhook.arrivals, syslog.arrivals])
    t.is(arrivals.faultOf(forwarded.log.size), null);
  t.deepEqual(
    [webhook.faults, forwarded.states.map(({ target }) => target)],
    [[], [`tls://127.0.0.1:${syslog.port}`, webhook.url.origin]],
  );
  // To the byte the same, whichever way it went.
  t.true([...new Set(webhook.arrivals.lines)].join() === [...new Set(syslog.arrivals.lines)].join());

  const status = await replicas.cli(0, 'audit', 'forward', 'status');
  t.regex(status.stdout, /^webhook +https:\/\/127\.0\.0\.1:\d+ +\d+ +0 +0 s +/m);
  t.regex((await replicas.cli(0, 'doctor')).stdout, /^ok +forward +syslog: 0 entries wait/m);
  for (const { log } of [replicas.servers[0], replicas.servers[1]].flatMap((one) => one ?? []))
    t.false(log().includes('hidden') || log().includes(trust.secret));
});

function flagsFor(sink: string, url: string): string[] {
  const { caFile, certFile, keyFile } = trust.tls;
  const files = { 'ca-file': caFile, 'cert-file': certFile, 'key-file': keyFile };
  return [
    `--forward-${sink}`,
    url,
    ...Object.entries(files).flatMap(([name, file]) => [`--forward-${sink}-${name}`, file]),
  ];
}
