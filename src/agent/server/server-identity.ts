import { generateKeyPairSync } from 'node:crypto';
import type { Issue, IssuedSvid } from '../../ca/issue-request.ts';
import type { Clock } from '../../clock.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import { renewalTime, retryDelay } from '../../rotation/renewal.ts';
import { buildCsr } from '../../x509/build-csr.ts';
import { serverIdOf } from '../identity.ts';
import type { ListenerIdentity } from './listener.ts';

export interface ServerIdentityOptions {
  readonly trustDomain: TrustDomain;
  /** This host's name, on record as `server:<host>`. */
  readonly host: string;
  /** For clients that verify a name, as Istio's do. */
  readonly dnsNames: readonly string[];
  /** Under the profile `server`. */
  readonly issue: Issue;
  /** Trusted now, DER. */
  readonly roots: () => readonly Uint8Array[];
  /** The root under which an authority signs, DER. */
  readonly rootOf: (authority: string) => Uint8Array | undefined;
  /** Whether what an authority signed is to be replaced now. */
  readonly isSuperseded: (authority: string) => 'no' | 'wave' | 'urgent';
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onChange: (identity: ListenerIdentity) => void;
  readonly onFailed: (error: unknown) => void;
}

/** How often the clock is looked at. */
const TICK_MS = 1_000;

/**
 * The server's own certificate and key, the key in memory alone. It is renewed as leaves are, at about half of its
 * life, and at once when another root takes over.
 */
export class ServerIdentity {
  readonly #options: ServerIdentityOptions;
  #current: ListenerIdentity;
  #svid: IssuedSvid;
  #renewAt: number;
  #failures = 0;
  #retryAt = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | null = null;
  readonly #timer: NodeJS.Timeout;

  /** Throws what issuing throws. */
  static async create(options: ServerIdentityOptions): Promise<ServerIdentity> {
    return new ServerIdentity(options, await issueOwn(options));
  }

  /** Use {@link ServerIdentity.create}. */
  private constructor(options: ServerIdentityOptions, { svid, privateKey }: Issued) {
    this.#options = options;
    this.#svid = svid;
    this.#current = identityOf(options, svid, privateKey);
    this.#renewAt = this.#renewalTime();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get current(): ListenerIdentity {
    return this.#current;
  }

  /** Another bundle is to be trusted, or another authority signs. */
  authoritiesChanged(): void {
    const { privateKey } = this.#current;
    this.#set(identityOf(this.#options, this.#svid, privateKey));
    this.#tick();
  }

  /** Waits for the renewal under way. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
  }

  #tick(): void {
    const { clock, isSuperseded } = this.#options;
    const now = clock();
    const isDue = now >= this.#renewAt || isSuperseded(this.#svid.authority) !== 'no';
    if (!isDue || now < this.#retryAt) return;
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null;
    });
  }

  /** While it fails the old certificate serves. */
  async #renew(): Promise<void> {
    const { clock, random } = this.#options;
    try {
      const { svid, privateKey } = await issueOwn(this.#options);
      this.#svid = svid;
      this.#renewAt = this.#renewalTime();
      this.#failures = 0;
      this.#set(identityOf(this.#options, svid, privateKey));
    } catch (error) {
      const restMs = this.#svid.notAfter.getTime() - clock();
      this.#retryAt = clock() + retryDelay(++this.#failures, restMs, random());
      this.#options.onFailed(error);
    }
  }

  #renewalTime(): number {
    const { clock, random } = this.#options;
    return renewalTime(clock(), this.#svid.notAfter.getTime(), random());
  }

  #set(identity: ListenerIdentity): void {
    this.#current = identity;
    this.#options.onChange(identity);
  }
}

interface Issued {
  readonly svid: IssuedSvid;
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
}

async function issueOwn({ issue, trustDomain, host, dnsNames }: ServerIdentityOptions): Promise<Issued> {
  const keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = `server:${host}`;
  const svid = await issue({
    csr: buildCsr(keyPair),
    grant: {
      entryId: null,
      entryVersion: null,
      spiffeId: serverIdOf(trustDomain),
      dnsNames,
      ttlSeconds: null,
    },
    attestation: { instance: name, selectors: [], evidence: { pid: process.pid } },
    node: null,
    requester: name,
  });
  return { svid, privateKey: keyPair.privateKey.export({ format: 'der', type: 'pkcs8' }) };
}

function identityOf(
  { roots, rootOf }: ServerIdentityOptions,
  { chain, authority }: IssuedSvid,
  privateKey: Uint8Array,
): ListenerIdentity {
  const root = rootOf(authority);
  return { privateKey, chain: root === undefined ? chain : [...chain, root], roots: roots() };
}
