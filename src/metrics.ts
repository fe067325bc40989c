import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** From a signature's 0.1 ms to a commit that waits for a slow disk. */
const ISSUE_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const HTTP_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Carnet's metrics by what they count, with the process's own beside them. Public names: add to them, do not
 * rename. No label holds an identity, a serial or a name that a caller chose, so each has few values.
 */
export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name, help, labelNames, registers: [registry] });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers: [registry] });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: L[] = [],
  ) => new Histogram<L>({ name, help, labelNames, buckets, registers: [registry] });
  const updates: (() => void)[] = [];
  const leafEnds = new Set<() => number | null>();
  const leafExpirySecondsMin = gauge(
    'carnet_leaf_expiry_seconds_min',
    'Seconds until the first of the leaves in use ends; no sample while none is. Alert well before 0.',
  );
  const updateLeafExpiry = (): void => {
    const seconds = [...leafEnds].flatMap((secondsToFirstEnd) => secondsToFirstEnd() ?? []);
    // Without a sample nothing is alerted on where nobody is connected; it would begin at 0, which alerts.
    if (seconds.length === 0) leafExpirySecondsMin.remove();
    else leafExpirySecondsMin.set(Math.min(...seconds));
  };
  updates.push(updateLeafExpiry);

  return {
    issuances: counter(
      'carnet_issuances_total',
      'Certificates asked for, by profile and by result: "issued" or the error\'s code.',
      ['profile', 'result'],
    ),
    issueSeconds: histogram(
      'carnet_issue_seconds',
      'From the request for a certificate to its committed record.',
      ISSUE_BUCKETS_SECONDS,
    ),
    recordQueueLength: gauge(
      'carnet_record_queue_length',
      'Issuances that wait for the next commit. Near its limit, requests are refused as overloaded.',
    ),
    sdsStreams: gauge('carnet_sds_streams', 'Open SDS streams.'),
    sdsPushes: counter('carnet_sds_pushes_total', 'Versions of resources sent to proxies.'),
    sdsAcks: counter('carnet_sds_acks_total', 'Versions that a proxy acknowledged.'),
    sdsNacks: counter(
      'carnet_sds_nacks_total',
      'Versions that a proxy refused: carnet proxies shows its words.',
    ),
    sdsRefusedNames: counter(
      'carnet_sds_refused_names_total',
      'Resource names that a caller asked for and is not entitled to.',
    ),
    workloadApiStreams: gauge('carnet_workload_api_streams', 'Open streams and calls of the Workload API.'),
    workloadApiMessages: counter(
      'carnet_workload_api_messages_total',
      'Messages sent on streams of the Workload API.',
    ),
    attestationFailures: counter(
      'carnet_attestation_failures_total',
      'Callers, on the socket or by --sds-on-grpc, that could not be attested.',
    ),
    leafRenewalFailures: counter(
      'carnet_leaf_renewal_failures_total',
      'Renewals of a leaf that failed and will be tried again.',
    ),
    /** Adds leaves in use to those counted: in seconds until the first of them ends; null for none. Returns what ends it. */
    observeLeaves: (secondsToFirstEnd: () => number | null): (() => void) => {
      leafEnds.add(secondsToFirstEnd);
      return () => leafEnds.delete(secondsToFirstEnd);
    },
    agentSessions: gauge('carnet_agent_sessions', "Sessions of other nodes' agents with this server."),
    agentsWaiting: gauge(
      'carnet_agents_waiting',
      'Agents that wait for their session to begin. They are let in at a bounded rate.',
    ),
    agentRefusals: counter(
      'carnet_agent_refusals_total',
      "Agents and nodes that were refused, by the error's code: join_token_used, agent_banned, agent_copied, …",
      ['code'],
    ),
    federations: gauge('carnet_federations', 'Other trust domains that are known.'),
    federationsStale: gauge(
      'carnet_federations_stale',
      'Of these, those whose endpoint was not heard for three refreshes: a new root of theirs is not trusted yet.',
    ),
    federationRefreshes: counter(
      'carnet_federation_refreshes_total',
      'Looks at bundle endpoints, by result: "refreshed" or the error\'s code.',
      ['result'],
    ),
    authorityExpiry: gauge(
      'carnet_authority_expiry_timestamp_seconds',
      'When an authority in use ends, in seconds since the epoch: its certificate, or its key for JWT-SVIDs.',
      ['kind', 'id', 'state'],
    ),
    kubernetesFailures: counter(
      'carnet_kubernetes_failures_total',
      'Work in the Kubernetes cluster that failed and is tried again, by part: rules, csr, pod_certificate, bundle.',
      ['part'],
    ),
    logSize: gauge('carnet_log_size', "Entries that the log's latest checkpoint covers."),
    logLagSeconds: gauge(
      'carnet_log_lag_seconds',
      'Seconds since this server last put all ended records into the log, or found them there. Alert on 10 and more.',
    ),
    logFailures: counter(
      'carnet_log_failures_total',
      "Turns at putting records into the log that failed, by the error's code; internal is an alarm.",
      ['code'],
    ),
    logWitnessLagSeconds: gauge(
      'carnet_log_witness_lag_seconds',
      'Since when a checkpoint waits for the cosignature of a witness; of the server that asks them. Alert on 60 and more.',
      ['witness'],
    ),
    logWitnessLagEntries: gauge(
      'carnet_log_witness_lag_entries',
      'Entries of the log that a witness did not cosign yet; of the server that asks them.',
      ['witness'],
    ),
    logWitnessFailures: counter(
      'carnet_log_witness_failures_total',
      'Checkpoints that a witness did not cosign, by the reason: unreachable, unknown_log, refused, bad_answer; ahead and forked are alarms.',
      ['witness', 'reason'],
    ),
    forwardLagEntries: gauge(
      'carnet_forward_lag_entries',
      'Entries of the log that wait to be forwarded, by sink.',
      ['sink'],
    ),
    forwardLagSeconds: gauge(
      'carnet_forward_lag_seconds',
      'How long the first of them has waited since it was recorded. Alert on what you can do without.',
      ['sink'],
    ),
    forwardedEntries: counter(
      'carnet_forwarded_entries_total',
      'Entries that a sink acknowledged, by sink; of this server.',
      ['sink'],
    ),
    forwardFailures: counter(
      'carnet_forward_failures_total',
      "Batches that could not be forwarded, by sink and the error's code; they are sent again.",
      ['sink', 'code'],
    ),
    databaseUp: gauge('carnet_database_up', '1 while Postgres answers, 0 while nothing can be issued.'),
    breakGlassRequests: counter(
      'carnet_break_glass_requests_total',
      'Requests with the role break-glass. Alert on any.',
    ),
    httpRequests: counter('carnet_http_requests_total', 'HTTP requests, by route and status.', [
      'method',
      'route',
      'status',
    ]),
    httpRequestSeconds: histogram(
      'carnet_http_request_seconds',
      'Time to answer an HTTP request.',
      HTTP_BUCKETS_SECONDS,
      ['route'],
    ),

    /** For the metrics that only one kind of process has. */
    registry,
    /** Has `update` called before each scrape: for gauges that show a state rather than count events. */
    beforeScrape: (update: () => void): void => {
      updates.push(update);
    },
    /** All metrics in the Prometheus text format. */
    scrape: (): Promise<string> => {
      for (const update of updates) update();
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
