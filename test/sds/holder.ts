import { randomBytes } from 'node:crypto';
import type { Holder, Holdings, X509Svid } from '../../src/delivery/holdings.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';

/** An instance's holdings, as a test changes them. */
export class TestHolder implements Holder {
  readonly instance: string;
  readonly #listeners = new Set<() => void>();
  #holdings: Holdings;

  constructor(holdings: Partial<Holdings> = {}, instance = 'process:boot:1:1') {
    this.instance = instance;
    this.#holdings = {
      svids: [svid()],
      bundle: bundle(1),
      federated: [],
      complete: true,
      problem: null,
      ...holdings,
    };
  }

  current(): Holdings {
    return this.#holdings;
  }

  subscribe(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  set(holdings: Partial<Holdings>): void {
    this.#holdings = { ...this.#holdings, ...holdings };
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A certificate of random bytes: enough for whoever doesn't read it. */
export function svid(fields: Partial<X509Svid> = {}): X509Svid {
  return {
    identity: parseSpiffeId('spiffe://carnet.local/web'),
    serial: randomBytes(16).toString('hex'),
    chain: [randomBytes(700), randomBytes(600)],
    privateKey: randomBytes(138),
    notBefore: new Date(0),
    notAfter: new Date(3_600_000),
    entryId: 'web',
    authority: 'issuing-00000000',
    ...fields,
  };
}

/** A bundle of one root of random bytes. */
export function bundle(sequence: number, fields: Partial<TrustBundle> = {}): TrustBundle {
  return {
    trustDomain: parseTrustDomain('carnet.local'),
    sequence,
    x509Sequence: sequence,
    crls: [],
    jwtAuthorities: [],
    x509Authorities: [randomBytes(500)],
    ...fields,
  };
}
