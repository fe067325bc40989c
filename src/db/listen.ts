import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../log.ts';
import type { Queryable } from './database.ts';

/** What changes in the database wake the replicas for. */
export const TOPICS = ['entries', 'authorities', 'bundle', 'denials', 'agents', 'federation'] as const;
export type Topic = (typeof TOPICS)[number];

export interface ListenOptions {
  readonly url: string;
  readonly log: Logger;
  /** Called for each topic that may have changed; must not throw. Several changes may share a call. */
  readonly wake: (topic: Topic) => void;
  /** Uniform in [0, 1): spreads the reconnects of many replicas. */
  readonly random: () => number;
  /** Between catch-ups while connected. */
  readonly catchUpMs?: number;
}

const CHANNEL = 'carnet';
const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 5_000;
const CATCH_UP_MS = 30_000;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 10_000;

/** Wakes every replica for `topic` when the transaction commits. */
export async function notify(tx: Queryable, topic: Topic): Promise<void> {
  await tx.query('SELECT pg_notify($1, $2)', [CHANNEL, topic]);
}

/**
 * Hears of changes on a connection of its own, until `close`. A notice that was missed cannot last: all topics
 * are woken after each connect, and then every 30 s, when the connection is tried as well.
 */
export class Listener {
  readonly #options: ListenOptions;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #pauseMs = RETRY_MIN_MS;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { log, random } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#listen();
      } catch (error) {
        if (signal.aborted) return;
        const retryInMs = Math.round(this.#pauseMs * (0.5 + random()));
        log.warn({ err: error, retryInMs }, 'the database is not heard: connecting again');
        await sleep(retryInMs, undefined, { signal }).catch(() => undefined);
        this.#pauseMs = Math.min(this.#pauseMs * 2, RETRY_MAX_MS);
      }
    }
  }

  /** One connection from its start to its end, which is always an error. */
  async #listen(): Promise<never> {
    const socket = new Socket();
    const cut = (): unknown => socket.destroy();
    this.#closing.signal.addEventListener('abort', cut, { once: true });
    const client = new pg.Client({
      connectionString: this.#options.url,
      application_name: 'carnet listen',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      keepAlive: true,
      stream: () => socket,
    });
    const lost = new Promise<never>((_, reject) => client.on('error', reject));
    // While nobody waits for it, the statement under way reports the same loss.
    lost.catch(() => undefined);
    client.on('notification', ({ payload }) => {
      const topic = TOPICS.find((known) => known === payload);
      if (topic) this.#options.wake(topic);
    });
    try {
      await client.connect();
      await client.query(`LISTEN ${CHANNEL}`);
      this.#pauseMs = RETRY_MIN_MS;
      for (;;) {
        for (const topic of TOPICS) this.#options.wake(topic);
        await Promise.race([lost, sleep(this.#options.catchUpMs ?? CATCH_UP_MS, undefined, { ref: false })]);
        await client.query('SELECT 1');
      }
    } finally {
      this.#closing.signal.removeEventListener('abort', cut);
      socket.destroy();
    }
  }
}
