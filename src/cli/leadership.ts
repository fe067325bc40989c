import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';

export interface LeadershipOptions {
  /** Takes, or goes on with, the lease; false while another has it. */
  readonly take: (seconds: number) => Promise<boolean>;
  readonly release: () => Promise<void>;
  /** What only one server does; ended when the lease is lost. */
  readonly lead: () => Promise<AsyncDisposable>;
  readonly log: Logger;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Without a sign of life for this long, another server takes over. */
const LEASE_SECONDS = 15;
const RENEW_MS = 5_000;

/**
 * Has one of several servers do something: whoever has the lease. It stops when it could not go on with its lease in
 * time. What it does must bear that two do it for a moment, because a server that is held up notices late.
 */
export class Leadership implements AsyncDisposable {
  readonly #options: LeadershipOptions;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #led: AsyncDisposable | null = null;
  #heldUntil = 0;
  #problem: string | null = null;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { release, random, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#look();
      const pauseMs = RENEW_MS * (0.75 + random() / 2);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
    const led = this.#led !== null;
    await this.#stop();
    if (led) await release().catch((err: unknown) => log.warn({ err }, 'the lease ends by itself'));
  }

  async #look(): Promise<void> {
    const { take, log, now } = this.#options;
    try {
      const asked = now();
      const ours = await take(LEASE_SECONDS);
      this.#problem = null;
      if (ours) this.#heldUntil = asked + LEASE_SECONDS * 1000;
      else await this.#stop();
      if (ours && this.#led === null) await this.#start();
    } catch (error) {
      const reason = (error as Error).message;
      if (reason !== this.#problem)
        log.warn({ reason }, 'who leads could not be found out; it is tried again');
      this.#problem = reason;
    }
    // Before the lease ends, and not after.
    if (now() + RENEW_MS * 1.25 >= this.#heldUntil) await this.#stop();
  }

  async #start(): Promise<void> {
    const { lead, log } = this.#options;
    try {
      this.#led = await lead();
    } catch (error) {
      log.warn(
        { reason: (error as Error).message },
        'what the leader does could not begin; it is tried again',
      );
    }
  }

  async #stop(): Promise<void> {
    const led = this.#led;
    this.#led = null;
    await led?.[Symbol.asyncDispose]();
  }
}
