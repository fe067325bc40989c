import type { AuthorityBody } from '../api/authorities.ts';
import type { FederationBody } from '../api/federation.ts';
import type { ReadinessBody } from '../api/health.ts';
import { isLoopback } from '../api/local-host.ts';
import type { LogBody } from '../api/log.ts';
import type { ProxyBody } from '../api/proxies.ts';
import type { SinkBody } from '../api/sinks.ts';
import type { UnrecordedListBody } from '../api/unrecorded.ts';
import { LATE } from '../rotation/lateness.ts';
import { relativeTime, shortTime } from './times.ts';

/** One thing that the doctor looked at. */
export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do; null where nothing is to be done. */
  readonly advice: string | null;
}

/** A leaf begins 30 s in the past: a larger difference makes new certificates not yet valid somewhere. */
const MAX_CLOCK_SKEW_MS = 30_000;
const WARN_CLOCK_SKEW_MS = 5000;
/** An acknowledgement takes milliseconds. */
const SLOW_ACK_MS = 60_000;
/** Twenty turns of sequencing. */
const SLOW_LOG_MS = 10_000;
const SLOW_SINK_SECONDS = 60;
/** More findings of one kind than this are only counted. */
const MAX_NAMED = 10;

export function diagnoseClock(serverDate: string | null, now: number): Finding {
  // The Date header has whole seconds, cut off.
  const skewMs = serverDate === null ? Number.NaN : Date.parse(serverDate) + 500 - now;
  if (Number.isNaN(skewMs)) return finding('clock', 'warn', 'the server told no time', null);
  const seconds = (Math.abs(skewMs) / 1000).toFixed(0);
  if (Math.abs(skewMs) < WARN_CLOCK_SKEW_MS)
    return finding('clock', 'ok', "the server's clock and ours agree", null);
  return finding(
    'clock',
    Math.abs(skewMs) < MAX_CLOCK_SKEW_MS ? 'warn' : 'fail',
    `the server's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`,
    'synchronise both (NTP): certificates are dated by the server and checked by each proxy',
  );
}

export function diagnoseReadiness({ ready, checks }: ReadinessBody): Finding[] {
  const bad = checks.filter(({ ok }) => !ok);
  return [
    finding(
      'ready',
      ready ? 'ok' : 'fail',
      ready ? 'the server can issue' : 'the server can not issue; what is delivered keeps working',
      ready ? null : `mend ${bad.map(({ name }) => name).join(', ') || 'what its log says'}`,
    ),
    ...checks.map(({ name, ok, detail }) => finding(name, ok ? 'ok' : 'fail', detail, null)),
  ];
}

/** `mode` is the file's, with its type bits. */
export function diagnoseTokenFile(file: string, mode: number): Finding {
  const permissions = mode & 0o777;
  if ((permissions & 0o077) === 0) return finding('token file', 'ok', `${file} is for its owner alone`, null);
  return finding(
    'token file',
    'fail',
    `${file} has the mode ${permissions.toString(8).padStart(4, '0')}: others can read or change it`,
    `chmod 600 ${file}, then replace the token: carnet token create, carnet token revoke`,
  );
}

export function diagnoseTransport(server: string): Finding[] {
  const { protocol, hostname } = new URL(server);
  if (protocol === 'https:' || isLoopback(hostname.replace(/^\[|\]$/g, ''))) return [];
  const advice = 'put a TLS proxy before the server, or use a tunnel: ssh -L 8080:127.0.0.1:8080 HOST';
  return [finding('transport', 'warn', `${server} takes the token over the network in the clear`, advice)];
}

export function diagnoseAuthorities(authorities: readonly AuthorityBody[], now: number): Finding[] {
  const inUse = authorities.filter(({ state }) => state !== 'retired' && state !== 'prepared');
  const missing = (['root', 'issuing'] as const).filter(
    (kind) => !inUse.some((one) => one.kind === kind && (one.state === 'active' || one.state === 'tainted')),
  );
  return [
    ...missing.map((kind) =>
      finding('authorities', 'fail', `there is no active ${kind} CA`, 'see the log of the server'),
    ),
    ...inUse.map((authority) => diagnoseAuthority(authority, now)),
  ];
}

function diagnoseAuthority({ id, kind, state, not_before, not_after }: AuthorityBody, now: number): Finding {
  const [begin, end] = [Date.parse(not_before), Date.parse(not_after)];
  const left = (end - now) / (end - begin);
  const detail = `${id} is ${state} until ${shortTime(not_after)} (${relativeTime(not_after, now)})`;
  if (state === 'tainted')
    return finding('authorities', 'warn', detail, 'finish its replacement: carnet root status');
  if (state === 'active' && left <= 0)
    return finding(
      'authorities',
      'fail',
      detail,
      'nothing can be issued under it: see the log of the server',
    );
  if (state === 'active' && left <= LATE)
    return finding(
      'authorities',
      'warn',
      `${detail}, and nothing has replaced it yet`,
      kind === 'root'
        ? 'see carnet root status for whom its rotation waits; if there is none: carnet root rotate'
        : 'see carnet root status and the log of the server; is --issuing-ca-rotation auto?',
    );
  return finding('authorities', 'ok', detail, null);
}

export function diagnoseProxies(proxies: readonly ProxyBody[], now: number): Finding[] {
  const troubles = proxies.flatMap((proxy) => diagnoseProxy(proxy, now));
  if (troubles.length === 0)
    return [finding('proxies', 'ok', `${proxies.length} connected, none waits or refused anything`, null)];
  const more = troubles.length - MAX_NAMED;
  const rest =
    more > 0 ? [finding('proxies', 'warn', `and ${more} more findings`, 'see carnet proxies')] : [];
  return [...troubles.slice(0, MAX_NAMED), ...rest];
}

function diagnoseProxy(proxy: ProxyBody, now: number): Finding[] {
  const name = proxy.node_id ?? proxy.instance;
  const found: Finding[] = [];
  if (proxy.waiting.length > 0)
    found.push(
      finding(
        'proxies',
        'warn',
        `${name} waits for ${proxy.waiting.join(', ')}`,
        'is there an entry that grants it? carnet entry list',
      ),
    );
  for (const resource of proxy.resources) {
    const { name: resourceName, last_error: error, expires_at, sent_at } = resource;
    // The Workload API has no acknowledgement.
    const acknowledged =
      proxy.protocol === 'workload-api' || resource.version_acknowledged === resource.version_sent;
    if (expires_at !== null && Date.parse(expires_at) <= now)
      found.push(
        finding(
          'proxies',
          'fail',
          `${name} holds ${resourceName}, which ended ${relativeTime(expires_at, now)}`,
          'its renewal fails: see the readiness above and the log of the server',
        ),
      );
    if (error !== null)
      found.push(
        finding(
          'proxies',
          'fail',
          `${name} refused ${resourceName} version ${error.version}: ${error.message}`,
          'it keeps the version before: mend what it says before that ends',
        ),
      );
    else if (!acknowledged && sent_at !== null && now - Date.parse(sent_at) > SLOW_ACK_MS)
      found.push(
        finding(
          'proxies',
          'warn',
          `${name} has not acknowledged ${resourceName}, sent ${relativeTime(sent_at, now)}`,
          'is the proxy overloaded or stopped?',
        ),
      );
  }
  return found;
}

/** A record comes into the log within a second, and at the latest when the transactions before it have ended. */
export function diagnoseLog({ size, waiting_since }: LogBody, now: number): Finding {
  const waitedMs = waiting_since === null ? 0 : now - Date.parse(waiting_since);
  if (waitedMs < SLOW_LOG_MS) return finding('log', 'ok', `${size} entries, all records are in it`, null);
  return finding(
    'log',
    'fail',
    `records wait since ${waiting_since} to come into the log, which has ${size} entries`,
    'see the log of the server; is a transaction of somebody else open in this PostgreSQL (pg_stat_activity)?',
  );
}

/** A sink that takes what comes is some seconds behind at most. */
export function diagnoseSinks(sinks: readonly SinkBody[]): Finding[] {
  return sinks.map(({ name, target, position, lag_entries, lag_seconds, problem }) => {
    const waiting = `${lag_entries} entries wait, the first for ${Math.round(lag_seconds)} s`;
    if (lag_seconds < SLOW_SINK_SECONDS) return finding('forward', 'ok', `${name}: ${waiting}`, null);
    return finding(
      'forward',
      problem === null ? 'warn' : 'fail',
      `${name} (${target}): ${waiting}${problem === null ? '' : `: ${problem}`}`,
      problem === null
        ? 'it takes less than is recorded, or no server has it in its settings: carnet audit forward status'
        : `mend the receiver: entry ${position} and all behind it wait for it, nothing is lost (docs/FORWARDING.md)`,
    );
  });
}

/** What proxies hold is on record, unless an older database was restored. */
export function diagnoseRecords({ items, count }: UnrecordedListBody): Finding[] {
  if (count === 0) return [finding('records', 'ok', 'all that connected proxies hold is on record', null)];
  const named = items
    .slice(0, MAX_NAMED)
    .map(({ node_id, instance, resource, version }) =>
      finding(
        'records',
        'warn',
        `${node_id || instance} has or had ${resource} ${version}, not on record`,
        null,
      ),
    );
  const advice =
    'was an older backup restored? A certificate is valid until it ends: see Backups in docs/OPERATIONS.md';
  const all = finding('records', 'warn', `${count} in all: certificates and trust bundles`, advice);
  const lostBundle = items.some(({ version }) => BUNDLE_VERSION.test(version));
  return [...named, all, ...(lostBundle ? [LOST_BUNDLE] : [])];
}

/** Begins with the bundle's sequence; a certificate's is its serial. */
const BUNDLE_VERSION = /^\d+-/;

/** New roots, retired ones and revocations are what changes a bundle. */
const LOST_BUNDLE = finding(
  'records',
  'warn',
  'a later trust bundle than the last on record was in use: a CA that was replaced then is back, with its old key',
  "make revocations again; carnet root taint --reason 'restored backup' if a CA was tainted then, and otherwise, " +
    "after one leaf lifetime, carnet root rotate --reason 'restored backup' if one was replaced",
);

/** Of other trust domains: what verifiers trust of them grows old where their endpoints are not heard. */
export function diagnoseFederations(federations: readonly FederationBody[]): Finding[] {
  const bad = federations.filter(({ stale, bundle }) => stale || bundle === null);
  if (bad.length === 0)
    return federations.length === 0
      ? []
      : [finding('federation', 'ok', `${federations.length} other trust domains, all heard of late`, null)];
  return bad
    .slice(0, MAX_NAMED)
    .map(({ trust_domain, problem, bundle }) =>
      finding(
        'federation',
        bundle === null ? 'fail' : 'warn',
        `${trust_domain}: ${problem ?? 'its endpoint has not been heard for too long'}`,
        `carnet federation show ${trust_domain}; a new root of theirs is not trusted until this is mended`,
      ),
    );
}

export function finding(
  check: string,
  level: Finding['level'],
  detail: string,
  advice: string | null,
): Finding {
  return { check, level, detail, advice };
}
