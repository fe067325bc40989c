import type { FederationControl } from '../../src/api/federation.ts';
import { CarnetError } from '../../src/errors.ts';
import { acceptBundle, refuseOwn } from '../../src/federation/accept-bundle.ts';
import type { AcceptedBundle, Federation } from '../../src/federation/federation.ts';
import type { FederationInput } from '../../src/federation/operate.ts';
import { parseEndpoint } from '../../src/federation/parse-endpoint.ts';
import { parseTrustDomain, type TrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';

const AT = new Date('2026-03-10T11:59:00Z');

/** Federations in memory, whose endpoints give what a test puts there. */
export class MemoryFederations implements FederationControl {
  readonly federations = new Map<string, Federation>();
  /** What each endpoint would give. */
  readonly published = new Map<string, string>();
  /** Actor, what was done, and to what. */
  readonly changes: string[] = [];
  readonly #own: TrustBundle;
  #revision = 0;

  constructor(trustDomain: TrustDomain) {
    this.#own = {
      trustDomain,
      sequence: 1,
      x509Sequence: 1,
      x509Authorities: [],
      crls: [],
      jwtAuthorities: [],
    };
  }

  async list(): Promise<Federation[]> {
    return [...this.federations.values()];
  }

  async create({ trustDomain: name, endpoint, bundle }: FederationInput, actor: string): Promise<Federation> {
    const trustDomain = parseTrustDomain(name);
    refuseOwn(trustDomain, this.#own);
    if (this.federations.has(name)) throw new CarnetError('already_exists', `${name} is there already`);
    this.federations.set(name, {
      trustDomain,
      endpoint: endpoint && parseEndpoint(endpoint, trustDomain),
      bundle: null,
      checkedAt: null,
      nextRefreshAt: endpoint && AT,
      failures: 0,
      problem: null,
      createdAt: AT,
    });
    if (bundle !== null) this.#store(trustDomain, acceptBundle(bundle, trustDomain, this.#own, null));
    return this.#done(actor, 'create', trustDomain);
  }

  async delete(trustDomain: TrustDomain, actor: string): Promise<Federation> {
    const last = this.#done(actor, 'delete', trustDomain);
    this.federations.delete(trustDomain);
    return last;
  }

  async setBundle(input: { trustDomain: string; bundle: string }, actor: string): Promise<Federation> {
    const { trustDomain } = this.#find(input.trustDomain);
    this.#store(trustDomain, acceptBundle(input.bundle, trustDomain, this.#own, null));
    return this.#done(actor, 'set-bundle', trustDomain);
  }

  async refresh(trustDomain: TrustDomain, actor: string): Promise<Federation> {
    const found = this.#find(trustDomain);
    const document = this.published.get(trustDomain);
    if (document === undefined) throw new CarnetError('unavailable', 'nobody answers');
    this.#store(trustDomain, acceptBundle(document, trustDomain, this.#own, found.bundle));
    return this.#done(actor, 'refresh', trustDomain);
  }

  #store(trustDomain: TrustDomain, accepted: AcceptedBundle): void {
    const bundle = { ...accepted, revision: ++this.#revision, changedAt: AT };
    this.federations.set(trustDomain, { ...this.#find(trustDomain), bundle, checkedAt: AT });
  }

  #find(trustDomain: string): Federation {
    const found = this.federations.get(trustDomain);
    if (found === undefined) throw new CarnetError('not_found', `there is no federation with ${trustDomain}`);
    return found;
  }

  #done(actor: string, what: string, trustDomain: TrustDomain): Federation {
    this.changes.push(`${actor} ${what} ${trustDomain}`);
    return this.#find(trustDomain);
  }
}
