import { generateKeyPairSync } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import { createJoinToken } from '../../../src/agent/join-token-text.ts';
import { AgentLink, type AgentLinkOptions, type LinkEvent } from '../../../src/agent/link/agent-link.ts';
import { joinTokenAttestor } from '../../../src/agent/link/join-token.ts';
import type { IssueRequest } from '../../../src/ca/issue-request.ts';
import type { Entry } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';
import { createLogger } from '../../../src/log.ts';
import { buildCsr } from '../../../src/x509/build-csr.ts';
import { until } from '../../support/until.ts';
import { type LinkServer, TRUST_DOMAIN } from './link-server.ts';

/** A link and what happened on it; it is closed with the test. */
export interface TestLink {
  readonly link: AgentLink;
  readonly events: LinkEvent[];
  /** All that it logged. */
  log(): string;
  connected(): Promise<void>;
}

/** An agent's link to these servers, attested by a join token of the first one unless `changes` say otherwise. */
export function startLink(
  t: ExecutionContext,
  servers: readonly LinkServer[],
  changes: Partial<AgentLinkOptions> = {},
): TestLink {
  let log = '';
  const events: LinkEvent[] = [];
  const { text } = createJoinToken(servers[0]?.bundle.x509Authorities ?? []);
  const link = new AgentLink({
    servers: servers.map(({ address }) => address),
    trustDomain: TRUST_DOMAIN,
    attestor: joinTokenAttestor(async () => text, '--join-token-file'),
    readTrustBundle: null,
    version: 'test',
    health: () => ({ instances: 0, certificates: 0, failing: 0, soonestEndMs: 0 }),
    kept: null,
    clock: Date.now,
    // Tries follow each other soon, and the first server is the first.
    random: () => 0.05,
    log: createLogger('info', {
      write: (line) => {
        log += line;
      },
    }),
    ...changes,
  });
  link.listen((event) => events.push(event));
  link.start();
  t.teardown(() => link.close());
  return {
    link,
    events,
    log: () => log,
    connected: () => until('the link is up', () => link.status().connected).then(() => undefined),
  };
}

export function entry(changes: Partial<Entry> = {}): Entry {
  return {
    ...{ id: 'web', version: 1, spiffeId: 'spiffe://carnet.test/web', selectors: ['unix:uid:1000'] },
    ...{ dnsNames: [], ttlSeconds: 0, federatesWith: [], hint: '' },
    ...changes,
  };
}

/** As delivery asks for a leaf. */
export function request(path: string, entryVersion = 1): IssueRequest & { readonly csr: Uint8Array } {
  return {
    csr: buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    grant: {
      ...{ entryId: 'web', entryVersion, dnsNames: [], ttlSeconds: null },
      spiffeId: parseSpiffeId(`spiffe://${TRUST_DOMAIN}${path}`),
    },
    attestation: { instance: 'container:1', selectors: [], evidence: { uid: 1000 } },
    node: 'node-1',
    requester: 'agent:node-1',
  };
}
