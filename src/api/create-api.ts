import { TLSSocket } from 'node:tls';
import { Router } from '@koa/router';
import Koa, { type Middleware } from 'koa';
import type { AgentStore } from '../agent/server/agent-store.ts';
import type { JoinTokenStore } from '../agent/server/join-token-store.ts';
import type { ExplanationSource } from '../audit/explanation.ts';
import type { ExportSource } from '../audit/export.ts';
import type { LegalHolds } from '../audit/legal-hold.ts';
import type { LogReader } from '../audit/log-store.ts';
import type { OperatorEvent, OperatorEventQuery } from '../audit/operator-event.ts';
import type { IssuanceQuery } from '../audit/query.ts';
import type { Reports } from '../audit/report.ts';
import type { RetiredList } from '../audit/retired-list.ts';
import type { StoredJwtKey } from '../ca/jwt-key.ts';
import type { Clock } from '../clock.ts';
import type { ProxyView } from '../delivery/proxies.ts';
import { CarnetError } from '../errors.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { EntryStore } from '../policy/entry-store.ts';
import type { FleetSummary } from '../rotation/fleet-summary.ts';
import { AccessRecord } from './access-record.ts';
import { agentRoutes } from './agents.ts';
import { Authenticator } from './authenticate.ts';
import { type AuthorityList, authorityRoutes } from './authorities.ts';
import { bundleRoutes } from './bundle.ts';
import { Callers, type IdentifyPeer } from './callers.ts';
import { entryRoutes } from './entries.ts';
import { explanationRoutes } from './explanation.ts';
import { exportRoutes } from './export.ts';
import { type FederationControl, federationRoutes } from './federation.ts';
import { fleetRoutes } from './fleet.ts';
import { Gate } from './gate.ts';
import { healthRoutes, type Readiness } from './health.ts';
import { issuanceRoutes } from './issuances.ts';
import { joinTokenRoutes } from './join-tokens.ts';
import { jwtKeyRoutes } from './jwt-keys.ts';
import { isLocalHost } from './local-host.ts';
import { logRoutes } from './log.ts';
import { oidcRoutes } from './oidc.ts';
import { type IdentityProvider, oidcSignInRoutes } from './oidc-sign-in.ts';
import { openApiRoute } from './openapi.ts';
import { operatorEventRoutes } from './operator-events.ts';
import { OwnOrigin } from './own-origin.ts';
import { proxyRoutes } from './proxies.ts';
import { type Published, publishedRoutes } from './published.ts';
import { reportRoutes } from './reports.ts';
import { answerEvery } from './respond.ts';
import { retentionRoutes } from './retention.ts';
import { type Revocations, revocationRoutes } from './revocations.ts';
import { type Rotations, rotationRoutes } from './rotations.ts';
import type { Route } from './route.ts';
import type { SessionStore } from './session.ts';
import { SessionAuthenticator } from './session-authenticate.ts';
import { sessionRoutes } from './sessions.ts';
import { type Sinks, sinkRoutes } from './sinks.ts';
import type { TokenStore } from './token.ts';
import { tokenRoutes } from './tokens.ts';
import { serveUi } from './ui.ts';
import { unrecordedRoutes } from './unrecorded.ts';
import { type Upstream, upstreamRoutes } from './upstream.ts';

export interface ApiDependencies {
  readonly trustDomain: TrustDomain;
  readonly entries: EntryStore;
  readonly issuances: IssuanceQuery;
  readonly operatorEvents: OperatorEventQuery;
  readonly explanations: ExplanationSource;
  readonly reports: Reports;
  readonly auditLog: LogReader;
  readonly exports: ExportSource;
  readonly sinks: Sinks;
  readonly holds: LegalHolds;
  readonly retired: RetiredList;
  readonly authorities: AuthorityList;
  readonly tokens: TokenStore;
  readonly sessions: SessionStore;
  readonly joinTokens: JoinTokenStore;
  readonly agents: Pick<AgentStore, 'list' | 'ban' | 'unban'>;
  readonly rotations: Rotations;
  readonly revocations: Revocations & Published;
  readonly upstream: Upstream;
  readonly federation: FederationControl;
  readonly proxies: () => readonly ProxyView[];
  readonly fleet: () => Promise<FleetSummary>;
  readonly bundle: () => TrustBundle | undefined;
  readonly jwtKeys: () => Promise<readonly StoredJwtKey[]>;
  /** Of JWT-SVIDs; null for none. */
  readonly jwtIssuer: string | null;
  readonly readiness: () => Readiness;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether it listens on a loopback address (`isLoopback`): then it answers only to this machine's own names. */
  readonly loopback: boolean;
  readonly identifyPeer: IdentifyPeer;
  /** What only who answers for roles may have an entry for: identities that have one. */
  readonly roleIdentities: readonly SpiffeId[];
  /** Where people sign in; null for none. */
  readonly identityProvider: IdentityProvider | null;
  /** Whether what has this hash is used for the first time; remembered by all replicas until `until`, in ms. */
  readonly isFirstUse: (sha256: Uint8Array, until: number) => Promise<boolean>;
  /** Resolves once it is committed. */
  readonly recordEvent: (event: OperatorEvent) => Promise<void>;
  /** Whether each read of evidence leaves an operator event. */
  readonly recordEvidenceReads: boolean;
  /** Where browsers reach it; null for this machine's own addresses only. */
  readonly webUrl: string | null;
}

/** What knows who asks. */
interface Authenticators {
  readonly tokens: Authenticator;
  readonly sessions: SessionAuthenticator;
  readonly origin: OwnOrigin;
}

/** The REST interface as a koa application: `http-server.ts` serves it. */
export function createApi(dependencies: ApiDependencies): Koa {
  const { clock, log, metrics } = dependencies;
  const origin = new OwnOrigin(dependencies.webUrl);
  const authenticators = {
    tokens: new Authenticator(dependencies.tokens, clock),
    sessions: new SessionAuthenticator(dependencies.sessions, origin, clock),
    origin,
  };
  const record = new AccessRecord({
    record: dependencies.recordEvent,
    evidenceReads: dependencies.recordEvidenceReads,
    log,
    metrics,
  });
  const callers = new Callers({ ...authenticators, identifyPeer: dependencies.identifyPeer });
  const gate = new Gate({ callers, record, clock });
  const router = new Router();
  for (const route of apiRoutes(dependencies, authenticators))
    router.register(routerPath(route), [route.method], gate.serve(route));

  const app = new Koa();
  app.on('error', (error) =>
    log[error instanceof CarnetError ? 'error' : 'debug']({ err: error }, 'an http answer was cut off'),
  );
  app.use(answerEvery(log, metrics));
  if (dependencies.loopback) app.use(refuseForeignHosts(origin));
  app.use(serveUi());
  app.use(router.routes());
  app.use(refuseUnknown);
  return app;
}

/** Every endpoint there is. */
export function apiRoutes(dependencies: ApiDependencies, authenticators: Authenticators): Route[] {
  const { tokens, clock, trustDomain } = dependencies;
  const routes: Route[] = [
    ...entryRoutes(dependencies.entries, trustDomain, dependencies.roleIdentities),
    ...issuanceRoutes(dependencies.issuances, dependencies.auditLog, trustDomain, dependencies.retired),
    ...explanationRoutes(dependencies.explanations),
    ...operatorEventRoutes(dependencies.operatorEvents),
    ...reportRoutes(dependencies.reports, clock),
    ...logRoutes(dependencies.auditLog),
    ...exportRoutes(dependencies.exports, dependencies.auditLog, trustDomain),
    ...sinkRoutes(dependencies.sinks),
    ...retentionRoutes(dependencies.holds, dependencies.retired, trustDomain),
    ...authorityRoutes(dependencies.authorities),
    ...rotationRoutes(dependencies.rotations),
    ...upstreamRoutes(dependencies.upstream),
    ...revocationRoutes(dependencies.revocations, trustDomain),
    ...publishedRoutes(dependencies.revocations, dependencies.authorities),
    ...joinTokenRoutes(dependencies),
    ...agentRoutes(dependencies.agents),
    ...federationRoutes(dependencies.federation, clock),
    ...proxyRoutes(dependencies.proxies),
    ...fleetRoutes(dependencies.fleet),
    ...unrecordedRoutes(dependencies),
    ...bundleRoutes(dependencies.bundle),
    ...jwtKeyRoutes(dependencies.jwtKeys),
    ...oidcRoutes(dependencies.jwtIssuer, dependencies.bundle),
    ...tokenRoutes({
      tokens,
      clock,
      routes: () => routes,
      revoked: (id) => {
        authenticators.tokens.forget(id);
        authenticators.sessions.forget(({ tokenId }) => tokenId === id);
      },
    }),
    ...sessionRoutes({
      sessions: dependencies.sessions,
      authenticator: authenticators.sessions,
      origin: authenticators.origin,
      clock,
    }),
    ...oidcSignInRoutes({
      provider: dependencies.identityProvider,
      sessions: dependencies.sessions,
      authenticator: authenticators.sessions,
      origin: authenticators.origin,
      isFirstUse: dependencies.isFirstUse,
      clock,
    }),
    ...healthRoutes(dependencies.readiness, dependencies.metrics),
  ];
  return [...routes, openApiRoute(routes)];
}

/** `/v1/entries/{id}` as the router writes it; a colon of our own is a letter like any other. */
function routerPath({ path, restOfPath }: Route): string {
  const rest = restOfPath ? path.replace(/\{(\w+)\}$/, '*$1') : path;
  return rest.replaceAll(':', '\\:').replaceAll(/\{(\w+)\}/g, ':$1');
}

function refuseForeignHosts(origin: OwnOrigin): Middleware {
  return (ctx, next) => {
    const { host } = ctx.req.headers;
    // Over TLS a page of another name has met our certificate already.
    if (isLocalHost(host) || origin.isNamed(host) || ctx.req.socket instanceof TLSSocket) return next();
    throw new CarnetError(
      'permission_denied',
      `this server listens for its own machine only and doesn't answer to the host ${JSON.stringify(host)}: ask for 127.0.0.1 or localhost`,
    );
  };
}

const refuseUnknown: Middleware = (ctx) => {
  const methods = new Set(
    (ctx.matched as { methods: string[] }[] | undefined)?.flatMap((layer) => layer.methods),
  );
  if (methods.size === 0)
    throw new CarnetError('not_found', `there is nothing at ${ctx.path.slice(0, 200)}: see /v1/openapi.json`);
  const allowed = [...methods].join(', ');
  ctx.set('Allow', allowed);
  throw new CarnetError(
    'method_not_allowed',
    `${ctx.path.slice(0, 200)} takes ${allowed}, not ${ctx.method}`,
  );
};
