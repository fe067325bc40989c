import type { Clock } from '../../clock.ts';
import { CarnetError, errorCodeOf } from '../../errors.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import type { Logger } from '../../log.ts';
import { type Address, formatAddress } from '../../setting-values.ts';
import { type AgentIdentity, acceptCertificate, createAgentKey } from './agent-identity.ts';
import { attestNode } from './attest-node.ts';
import type { ServerTrust } from './channel.ts';
import type { Connection } from './connection.ts';
import { bundleOf } from './held.ts';
import type { NodeAttestor, NodeClaim } from './node-attestor.ts';
import { fetchPinnedRoot } from './pinned-root.ts';

export interface NodeIdentityOptions {
  readonly trustDomain: TrustDomain;
  readonly attestor: NodeAttestor;
  /** The roots (DER) that the operator gave; null where a join token names them. */
  readonly readTrustBundle: (() => Promise<readonly Uint8Array[]>) | null;
  /** What the servers told last to trust. */
  readonly bundle: () => TrustBundle | null;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: () => void;
  /**
   * Resolves once another certificate of ours would outlive our process; absent where none is to. A server that has seen it
   * takes whoever comes back with the one before it for a copy.
   */
  readonly settle?: () => Promise<void>;
}

/** The agent's own certificate: earned by the node's attestation, renewed on the link, earned anew when it is lost. */
export class NodeIdentity {
  readonly #options: NodeIdentityOptions;
  #current: AgentIdentity | null;
  /** Told with the certificate, before anything else is. */
  #firstBundle: TrustBundle | null = null;
  #refused = false;

  constructor(options: NodeIdentityOptions, kept: AgentIdentity | null) {
    this.#options = options;
    this.#current = kept;
  }

  get current(): AgentIdentity | null {
    return this.#current;
  }

  /** By what servers are known once the node is attested. */
  get trust(): ServerTrust {
    const bundle = this.#options.bundle() ?? this.#firstBundle;
    if (bundle === null) throw new CarnetError('internal', 'an identity without a trust bundle');
    return trustIn(bundle);
  }

  /** The servers take our certificate no more: the next {@link get} attests. */
  refused(): void {
    this.#refused = true;
  }

  /** The certificate while it is good; else the node is attested by this server. Throws as {@link attestNode} does. */
  async get(server: Address): Promise<AgentIdentity> {
    const own = this.#current;
    const valid = own !== null && own.notAfter > this.#options.clock();
    if (valid && !this.#refused) return own;
    try {
      return await this.#attest(server);
    } catch (error) {
      // Of a claim that can't be made twice: the servers may think better of the certificate that we have.
      if (!valid || errorCodeOf(error) !== 'attestation_failed') throw error;
      const reason = (error as Error).message;
      this.#options.log.warn({ reason }, 'the agent goes on with the certificate that it has');
      return own;
    } finally {
      this.#refused = false;
    }
  }

  /** Has a new key certified in the place of the one that we have. Throws what the server answered. */
  async renew(connection: Connection): Promise<void> {
    const { trustDomain, clock, onChange, settle } = this.#options;
    const key = createAgentKey();
    const message = await connection.renew(key.csr);
    const { roots } = this.trust;
    this.#current = await acceptCertificate(message, key, { trustDomain, roots, now: clock() });
    onChange();
    await settle?.();
  }

  async #attest(server: Address): Promise<AgentIdentity> {
    const { attestor, trustDomain, clock, log, onChange, settle } = this.#options;
    const claim = await attestor.claim();
    const trust = await this.#firstTrust(server, claim);
    const key = createAgentKey();
    const message = await attestNode(formatAddress(server), trust, attestor, claim, key);
    const identity = await acceptCertificate(message, key, { trustDomain, roots: trust.roots, now: clock() });
    if (message.bundle !== undefined) this.#firstBundle = bundleOf(message.bundle, trustDomain);
    this.#current = identity;
    onChange();
    await settle?.();
    const until = new Date(identity.notAfter).toISOString();
    log.info({ node: identity.node, method: attestor.method, until }, 'the node is attested');
    return identity;
  }

  /** By what a server is known before it has told anything: the operator's word goes before what we were told. */
  async #firstTrust(server: Address, { rootSha256 }: NodeClaim): Promise<ServerTrust> {
    const { readTrustBundle, trustDomain, bundle } = this.#options;
    if (readTrustBundle !== null) return { trustDomain, roots: await readTrustBundle(), crls: [] };
    if (rootSha256.length > 0)
      return { trustDomain, roots: [await fetchPinnedRoot(server, rootSha256)], crls: [] };
    const told = bundle();
    if (told !== null) return trustIn(told);
    throw new CarnetError('config_invalid', 'nothing says which servers to trust: give --trust-bundle');
  }
}

function trustIn({ trustDomain, x509Authorities, crls }: TrustBundle): ServerTrust {
  return { trustDomain, roots: x509Authorities, crls };
}
