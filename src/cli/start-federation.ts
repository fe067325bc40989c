import { schedule } from 'node-cron';
import type { ServerIdentity } from '../agent/server/server-identity.ts';
import type { FederationControl } from '../api/federation.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { noteBundleServed } from '../db/bundle-served.ts';
import type { Database } from '../db/database.ts';
import { PostgresFederationStore } from '../db/federations.ts';
import { CarnetError, errorCodeOf, isRetryable } from '../errors.ts';
import { identityInFiles } from '../federation/endpoint-files.ts';
import { Federations } from '../federation/federations.ts';
import { createFederation, setBundle } from '../federation/operate.ts';
import { Refresher, type RefreshFailure } from '../federation/refresher.ts';
import { type EndpointIdentity, serveBundle } from '../federation/serve-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Authorities } from '../rotation/authorities.ts';
import { formatAddress } from '../setting-values.ts';
import { encodePem } from '../x509/pem.ts';
import { createOwnIdentity, encodedOnce } from './own-identity.ts';
import type { LinkOptions } from './start-link.ts';

export interface FederationOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly authorities: Authorities;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What other trust domains are to this server. Until it is started it answers operators only. */
export interface FederationPart {
  readonly control: FederationControl;
  readonly federations: Federations;
  /** Fetches what is due, from now on. */
  start(): AsyncDisposable;
}

/** How often it is looked whether a bundle is to be fetched. */
const LOOK = '* * * * * *';
const GRACE_MS = 1_000;
/** That our bundle was fetched is stored this often at most. */
const NOTE_MS = 60_000;

export function openFederation(options: FederationOptions): FederationPart {
  const { database, authorities, clock, log, metrics } = options;
  const store = new PostgresFederationStore(database);
  const own = () => authorities.bundle();
  const federations = new Federations(store, (trustDomain, error) =>
    log.error(
      { trustDomain, reason: (error as Error).message },
      "another trust domain's bundle cannot be read: carnet federation set-bundle",
    ),
  );
  const stopping = new AbortController();
  const refresher = new Refresher({
    store,
    own,
    random: Math.random,
    onRefreshed: ({ trustDomain, bundle }, changed) => {
      metrics.federationRefreshes.inc({ result: 'refreshed' });
      if (changed) log.info({ trustDomain, sha256: bundle?.sha256 }, "another trust domain's bundle changed");
    },
    onFailed: (failure) => reportFailure(failure, log, metrics),
    stopping: stopping.signal,
  });
  metrics.beforeScrape(() => {
    metrics.federations.set(federations.list().length);
    metrics.federationsStale.set(federations.stale(clock()).length);
  });
  return {
    federations,
    control: {
      list: () => store.list(),
      create: (input, actor) => createFederation(store, own(), input, actor),
      delete: (trustDomain, actor) => store.delete(trustDomain, actor),
      setBundle: (input, actor) => setBundle(store, own(), input, actor),
      refresh: (trustDomain, actor) => refresher.refresh(trustDomain, actor),
    },
    start: () => {
      const look = async (): Promise<void> => {
        // What changes by it is read anew at its notice.
        if (federations.isDue(clock())) await refresher.refreshDue();
      };
      let underWay = Promise.resolve();
      const wake = (): Promise<void> => {
        underWay = look().catch((error: unknown) => reportLook(error, log));
        return underWay;
      };
      const task = schedule(LOOK, wake, { noOverlap: true });
      return {
        [Symbol.asyncDispose]: async () => {
          stopping.abort();
          await task.destroy();
          await underWay;
        },
      };
    },
  };
}

type EndpointOptions = FederationOptions & Pick<LinkOptions, 'recorder' | 'denials'>;

/** Our own bundle endpoint, where it runs. */
export interface OwnEndpoint extends AsyncDisposable {
  readonly url: string;
  /** The authorities were read anew. */
  authoritiesChanged(): void;
}

/** Serves our bundle at `--federation-addr`; null without. Throws `config_invalid`, and what issuing throws. */
export async function startBundleEndpoint(options: EndpointOptions): Promise<OwnEndpoint | null> {
  const { config, database, authorities, clock, log } = options;
  const { federationAddr: address, federationRefreshHint: refreshHintSeconds } = config;
  if (address === null) return null;
  await using stack = new AsyncDisposableStack();
  const own =
    config.federationProfile === 'https_spiffe'
      ? await createOwnIdentity(options, {
          dnsNames: [],
          onFailed: "the bundle endpoint's certificate could not be renewed; the old one serves",
        })
      : null;
  if (own !== null) stack.defer(() => own.close());
  let notedAt = Number.NEGATIVE_INFINITY;
  const endpoint = await serveBundle({
    address,
    bundle: () => (authorities.list().length === 0 ? undefined : authorities.bundle()),
    refreshHintSeconds,
    identity: own === null ? identityOfOperator(config, clock) : encodedOnce(own, pemOf),
    onServed: () => {
      const now = performance.now();
      if (now - notedAt < NOTE_MS) return;
      notedAt = now;
      noteBundleServed(database, refreshHintSeconds).catch((err: unknown) => {
        notedAt = Number.NEGATIVE_INFINITY;
        log.warn({ err }, 'that our bundle was fetched could not be stored: a rotation may not wait for it');
      });
    },
    log,
  }).catch((cause: unknown) => {
    if (cause instanceof CarnetError) throw cause;
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new CarnetError(
      'config_invalid',
      `--federation-addr ${formatAddress(address)} can't be had: ${why}; give another`,
      { cause },
    );
  });
  stack.defer(() => endpoint.close(GRACE_MS));
  log.info({ url: endpoint.url, profile: config.federationProfile }, 'our bundle is served to others');
  const owned = stack.move();
  return {
    url: endpoint.url,
    authoritiesChanged: () => own?.authoritiesChanged(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function pemOf({ chain, privateKey }: ServerIdentity['current']): EndpointIdentity {
  return {
    chain: chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    privateKey: encodePem('PRIVATE KEY', privateKey),
  };
}

function identityOfOperator(config: ServerConfig, clock: Clock): (() => EndpointIdentity) | null {
  const { federationCertFile: certFile, federationKeyFile: keyFile } = config;
  return certFile === null || keyFile === null ? null : identityInFiles(certFile, keyFile, clock);
}

/** The first failure in a row is worth a line, then each doubling. */
function reportFailure(
  { trustDomain, failures, error }: RefreshFailure,
  log: Logger,
  metrics: Metrics,
): void {
  metrics.federationRefreshes.inc({ result: errorCodeOf(error) });
  if (!Number.isInteger(Math.log2(failures))) return;
  const known = errorCodeOf(error) !== 'internal';
  log[known ? 'warn' : 'error'](
    { trustDomain, failures, ...(known ? { reason: (error as Error).message } : { err: error }) },
    "another trust domain's bundle could not be refreshed: what is known of it stays trusted",
  );
}

function reportLook(error: unknown, log: Logger): void {
  if (isRetryable(error))
    log.warn({ reason: (error as Error).message }, 'federations could not be looked at');
  else log.error({ err: error }, 'federations could not be looked at');
}
