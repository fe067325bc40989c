import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { isRetryable } from '../errors.ts';

/** How long what was looked up is taken as it was: its end at another replica waits at most this long. */
const FRESH_MS = 5000;
/**
 * How long after its last look-up somebody may still read while Postgres is away. Nothing can be revoked then
 * (revocations are rows), except by a replica that still reaches a Postgres which we don't: hence an end.
 */
const OUTAGE_GRACE_MS = 15 * 60_000;
/** Remembered of one kind; the one remembered longest goes first. */
const MAX_REMEMBERED = 256;

interface Remembered<T> {
  readonly sha256: Uint8Array;
  readonly value: T;
  readonly lookedUpAt: number;
  readonly askAgainAt: number;
}

/** What secrets stand for, by their hashes: from the store, and for seconds from memory. */
export class Known<T> {
  readonly #lookUp: (sha256: Uint8Array) => Promise<T | undefined>;
  readonly #clock: Clock;
  #remembered: Remembered<T>[] = [];

  constructor(lookUp: (sha256: Uint8Array) => Promise<T | undefined>, clock: Clock) {
    this.#lookUp = lookUp;
    this.#clock = clock;
  }

  /**
   * Throws what the store throws. Whoever only reads (`reading`) is let through an outage for a while, so that an
   * operator sees what proxies hold just then.
   */
  async find(sha256: Uint8Array, reading: boolean): Promise<T | undefined> {
    const now = this.#clock();
    // Compared in constant time, though a caller can't steer the hash of what it sends.
    const known = this.#remembered.find((one) => isOf(one, sha256));
    const age = known === undefined ? FRESH_MS : now - known.lookedUpAt;
    // A clock that was set back must not make what was revoked meanwhile last until it is there again.
    const isAhead = age < 0;
    if (known !== undefined && !isAhead && now < known.askAgainAt && (reading || age < FRESH_MS))
      return known.value;
    try {
      const value = await this.#lookUp(sha256);
      this.#remember(sha256, value, now);
      return value;
    } catch (error) {
      const inGrace = known !== undefined && !isAhead && age < OUTAGE_GRACE_MS;
      if (!reading || !inGrace || !isRetryable(error)) throw error;
      this.#replace({ ...known, askAgainAt: now + FRESH_MS });
      return known.value;
    }
  }

  /** Makes an end that this replica knows of count at once. */
  forget(hasEnded: (value: T) => boolean): void {
    this.#remembered = this.#remembered.filter(({ value }) => !hasEnded(value));
  }

  #remember(sha256: Uint8Array, value: T | undefined, now: number): void {
    if (value === undefined) this.#remembered = this.#remembered.filter((one) => !isOf(one, sha256));
    else this.#replace({ sha256, value, lookedUpAt: now, askAgainAt: now + FRESH_MS });
  }

  #replace(one: Remembered<T>): void {
    const others = this.#remembered.filter((other) => !isOf(other, one.sha256));
    this.#remembered = [...others, one].slice(-MAX_REMEMBERED);
  }
}

function isOf({ sha256 }: { readonly sha256: Uint8Array }, other: Uint8Array): boolean {
  return timingSafeEqual(sha256, other);
}
