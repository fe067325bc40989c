import type { Attestation } from '../attestation/attestation.ts';
import type { IssuedJwt } from '../ca/jwt-request.ts';
import type { Clock } from '../clock.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import { keyIdOf } from '../identity/jwt-svid.ts';
import type { JwtAuthority } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';

export interface JwtSvidsOptions {
  /** Gets a token signed and recorded. */
  readonly mint: (grant: Grant, attestation: Attestation, audience: readonly string[]) => Promise<IssuedJwt>;
  /** The keys that verifiers have now: tokens of another are not handed out any more. */
  readonly authorities: () => readonly JwtAuthority[];
  readonly clock: Clock;
  readonly limits?: Partial<JwtSvidsLimits>;
}

export interface JwtSvidsLimits {
  /** Tokens kept; the one that was used longest ago goes first. */
  readonly tokens: number;
  /** Tokens that one instance may have minted at once, and then in each second. */
  readonly burst: number;
  readonly perSecond: number;
  /** Instances whose rate is known. One that is forgotten begins anew. */
  readonly instances: number;
}

/** Ours: a workload that calls a hundred services asks for as many tokens at its start, and again within minutes. */
const DEFAULT_LIMITS: JwtSvidsLimits = { tokens: 20_000, burst: 200, perSecond: 20, instances: 20_000 };

interface Allowance {
  left: number;
  at: number;
}

/**
 * The JWT-SVIDs that this node's instances asked for: each is handed out again, to its own instance, until half of
 * its life is over, so that a call for each request costs no signature and no record.
 */
export class JwtSvids {
  readonly #options: JwtSvidsOptions;
  readonly #limits: JwtSvidsLimits;
  /** In order of last use. */
  readonly #tokens = new Map<string, IssuedJwt & { readonly keyId: string | undefined }>();
  readonly #minting = new Map<string, Promise<string>>();
  /** By instance, in order of last use. */
  readonly #allowances = new Map<string, Allowance>();

  constructor(options: JwtSvidsOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /**
   * A token for this audience, with at least half of its life left; with less while no new one can be had. Throws
   * `rate_limited` and what minting throws.
   */
  async fetch(grant: Grant, attestation: Attestation, audience: readonly string[]): Promise<string> {
    const { instance } = attestation;
    const { entryId, entryVersion, spiffeId } = grant;
    const key = JSON.stringify([instance, entryId, entryVersion, spiffeId, ...[...audience].sort()]);
    const held = this.#take(key);
    const now = this.#options.clock();
    if (held !== undefined && isFresh(held, now)) return held.token;
    try {
      return await this.#mintOnce(key, grant, attestation, audience);
    } catch (error) {
      if (held !== undefined && isRetryable(error) && now < held.expiresAt.getTime()) return held.token;
      throw error;
    }
  }

  /** The one that is held, unless its key is gone. It counts as used. */
  #take(key: string) {
    const held = this.#tokens.get(key);
    if (held === undefined) return undefined;
    this.#tokens.delete(key);
    if (!this.#options.authorities().some(({ keyId }) => keyId === held.keyId)) return undefined;
    this.#tokens.set(key, held);
    return held;
  }

  /** Callers that ask for the same at once share one. */
  #mintOnce(
    key: string,
    grant: Grant,
    attestation: Attestation,
    audience: readonly string[],
  ): Promise<string> {
    const underWay = this.#minting.get(key);
    if (underWay !== undefined) return underWay;
    this.#allow(attestation.instance);
    const minted = this.#options.mint(grant, attestation, audience).then((issued) => {
      this.#keep(key, issued);
      return issued.token;
    });
    this.#minting.set(key, minted);
    const forget = (): void => void this.#minting.delete(key);
    minted.then(forget, forget);
    return minted;
  }

  #keep(key: string, issued: IssuedJwt): void {
    this.#tokens.set(key, { ...issued, keyId: keyIdOf(issued.token) });
    for (const oldest of this.#tokens.keys()) {
      if (this.#tokens.size <= this.#limits.tokens) return;
      this.#tokens.delete(oldest);
    }
  }

  #allow(instance: string): void {
    const { burst, perSecond, instances } = this.#limits;
    const now = this.#options.clock();
    const last = this.#allowances.get(instance) ?? { left: burst, at: now };
    const gained = (Math.max(0, now - last.at) / 1000) * perSecond;
    const left = Math.min(burst, last.left + gained);
    if (left < 1)
      throw new CarnetError(
        'rate_limited',
        `this workload has asked for too many new JWT-SVIDs: ${perSecond} a second are had, after ${burst} at once`,
      );
    this.#allowances.delete(instance);
    this.#allowances.set(instance, { left: left - 1, at: now });
    for (const oldest of this.#allowances.keys()) {
      if (this.#allowances.size <= instances) return;
      this.#allowances.delete(oldest);
    }
  }
}

function isFresh({ issuedAt, expiresAt }: IssuedJwt, now: number): boolean {
  return issuedAt.getTime() <= now && now < (issuedAt.getTime() + expiresAt.getTime()) / 2;
}
