import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { originOf } from '../audit/log-key.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { Database } from '../db/database.ts';
import { PostgresForwardStore } from '../db/forward-sinks.ts';
import { releaseLease, takeLease } from '../db/leases.ts';
import { errorCodeOf } from '../errors.ts';
import { Forwarder, type ForwardFailure } from '../forward/forwarder.ts';
import type { Sink } from '../forward/sink.ts';
import { createSyslog } from '../forward/syslog.ts';
import { readTlsFiles } from '../forward/tls-files.ts';
import { checkWebhook, createWebhook } from '../forward/webhook.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { Leadership } from './leadership.ts';

export interface ForwardingOptions {
  readonly config: ServerConfig;
  /** Of the database. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Whatever a sink does, nobody who issues waits for one of these. */
const CONNECTIONS = 2;
/** How often it is seen how much waits. */
const LAG_MS = 5_000;
/** One failure in a row is nothing to tell of: the next try mostly goes well. */
const TOLD_FAILURES = 2;

/** Has one of the servers forward the log to the sinks that are configured. Throws `config_invalid`. */
export async function startForwarding(options: ForwardingOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const sinks = await openSinks(options);
  if (sinks.length > 0) {
    const { config, url, log, metrics } = options;
    const database = new Database({ url, name: 'forward', maxConnections: CONNECTIONS, log });
    stack.defer(() => database.close());
    const store = new PostgresForwardStore(database);
    for (const sink of sinks) await store.create(sink, config.forwardFrom);
    stack.use(watchLag(store, sinks, metrics));
    for (const sink of sinks) stack.use(leadOrWait(sink, store, database, options));
  }
  return stack.move();
}

async function openSinks({ config, clock }: ForwardingOptions): Promise<Sink[]> {
  const log = originOf(config.trustDomain);
  const sinks: Sink[] = [];
  const { forwardSyslog, forwardWebhook, forwardWebhookSecretFile: secretFile } = config;
  if (forwardSyslog !== null) {
    const { forwardSyslogCaFile, forwardSyslogCertFile, forwardSyslogKeyFile } = config;
    const tls = {
      caFile: forwardSyslogCaFile,
      certFile: forwardSyslogCertFile,
      keyFile: forwardSyslogKeyFile,
    };
    await readTlsFiles(tls);
    sinks.push(createSyslog({ ...forwardSyslog, tls, origin: { host: hostname(), pid: process.pid, log } }));
  }
  if (forwardWebhook !== null && secretFile !== null) {
    const { forwardWebhookCaFile, forwardWebhookCertFile, forwardWebhookKeyFile } = config;
    const tls = {
      caFile: forwardWebhookCaFile,
      certFile: forwardWebhookCertFile,
      keyFile: forwardWebhookKeyFile,
    };
    await checkWebhook({ secretFile, tls });
    sinks.push(createWebhook({ url: forwardWebhook, secretFile, tls, log, clock }));
  }
  return sinks;
}

/** Forwards to one sink while it is this server's turn. */
function leadOrWait(
  sink: Sink,
  store: PostgresForwardStore,
  database: Database,
  { log, metrics }: ForwardingOptions,
): AsyncDisposable {
  const lease = `forward:${sink.name}`;
  const holder = `${hostname()}:${randomUUID()}`;
  return new Leadership({
    take: (seconds) => takeLease(database, lease, holder, seconds),
    release: () => releaseLease(database, lease, holder),
    lead: async () => {
      log.info({ sink: sink.name, target: sink.target }, 'this server forwards the log');
      return new Forwarder({ sink, store, random: Math.random, ...tellingOf(sink, log, metrics) });
    },
    log,
    now: () => performance.now(),
    random: Math.random,
  });
}

/** Counts everything, and logs what changes: that a sink can't be had, why, and that it can again. */
function tellingOf({ name: sink }: Sink, log: Logger, metrics: Metrics) {
  let told: string | null = null;
  return {
    onAcknowledged: (entries: number): void => {
      metrics.forwardedEntries.inc({ sink }, entries);
      if (told !== null) log.info({ sink }, 'the log is forwarded again');
      told = null;
    },
    onFailed: ({ error, failures, refused }: ForwardFailure): void => {
      const code = errorCodeOf(error);
      metrics.forwardFailures.inc({ sink, code });
      const { message: reason } = error as Error;
      const state = `${code} ${reason} ${refused}`;
      if (state === told || (failures < TOLD_FAILURES && refused === null)) return;
      told = state;
      if (refused !== null)
        log.error(
          { sink, reason, entry: refused },
          `an entry is refused, and all behind it wait: ${FORWARDING}`,
        );
      else if (code === 'internal') log.error({ sink, err: error }, 'the log is not forwarded');
      else log.warn({ sink, reason }, 'the log cannot be forwarded for now; what comes into it waits there');
    },
  };
}

const FORWARDING = 'carnet audit forward status, docs/FORWARDING.md';

/** In each server, so that the metrics tell of it where none forwards. */
function watchLag(store: PostgresForwardStore, sinks: readonly Sink[], metrics: Metrics): AsyncDisposable {
  const closing = new AbortController();
  const names = new Set(sinks.map(({ name }) => name));
  const look = async (): Promise<void> => {
    for (const { name: sink, lagEntries, lagSeconds } of await store.list()) {
      if (!names.has(sink)) continue;
      metrics.forwardLagEntries.set({ sink }, lagEntries);
      metrics.forwardLagSeconds.set({ sink }, lagSeconds);
    }
  };
  const run = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      // Of a database that is away others tell.
      await look().catch(() => undefined);
      await sleep(LAG_MS, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  };
  const ended = run();
  return {
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await ended;
    },
  };
}
