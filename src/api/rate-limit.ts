import type { Clock } from '../clock.ts';

export interface Rate {
  readonly perSecond: number;
  /** How many calls may come at once after a rest. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  filledAt: number;
}

/** Callers remembered; past it the one heard of longest ago is forgotten, which gives it a full bucket again. */
const MAX_CALLERS = 10_000;

/** A token bucket for each caller. */
export class RateLimit {
  readonly #rate: Rate;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  /** Takes `cost` calls of `caller`'s. Returns 0, or when it must be refused the seconds until as many are free. */
  take(caller: string, cost = 1): number {
    const now = this.#clock();
    const bucket = this.#buckets.get(caller) ?? { tokens: this.#rate.burst, filledAt: now };
    // A clock that jumps back must not empty a bucket.
    const gained = (Math.max(0, now - bucket.filledAt) / 1000) * this.#rate.perSecond;
    bucket.tokens = Math.min(this.#rate.burst, bucket.tokens + gained);
    bucket.filledAt = now;
    this.#touch(caller, bucket);
    if (bucket.tokens < cost) return Math.ceil((cost - bucket.tokens) / this.#rate.perSecond);
    bucket.tokens -= cost;
    return 0;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Keeps the map in the order of last use, and bounded. */
  #touch(caller: string, bucket: Bucket): void {
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket);
    if (this.#buckets.size <= MAX_CALLERS) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}

/** The caller that an address stands for: an IPv6 network of 64 bits is one, since a host may have all of it. */
export function callerOf(address: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined) return v4;
  return address.includes(':') ? network64(address) : address;
}

function network64(address: string): string {
  const [head = '', tail] = address.split('%', 1).join('').split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  return [...groups, ...Array<string>(zeros).fill('0'), ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
