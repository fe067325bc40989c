import { rename } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KeyEncryptionKey } from '../../ca/key-encryption-key.ts';
import { errorCodeOf } from '../../errors.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { Logger } from '../../log.ts';
import { type CachedState, decodeState, encodeState } from './cached-state.ts';
import { readSealed, writeSealed } from './sealed-file.ts';

/** Ours: what changes within a moment is written once. */
const INTERVAL_MS = 1_000;
/** Of the time that a write took: with many entries a state is large, and must not take up the agent. */
const PAUSE_FACTOR = 20;

export interface AgentCacheOptions {
  readonly path: string;
  readonly key: KeyEncryptionKey;
  readonly trustDomain: TrustDomain;
  readonly log: Logger;
}

/** The sealed copy of what the agent holds: read at the start, written soon after each change. */
export class AgentCache {
  readonly #options: AgentCacheOptions;
  readonly #stop = new AbortController();
  #state: () => CachedState | null = () => null;
  #changed = false;
  #writing: Promise<void> | null = null;
  #written: Promise<void> = Promise.resolve();

  constructor(options: AgentCacheOptions) {
    this.#options = options;
  }

  /**
   * What the agent before this one left; null where there is nothing to be had. A cache that was tampered with is set aside,
   * because workloads wait and the servers know all of it: it is no reason not to start. Another key is one, because a
   * new cache would take the place of what the right key opens. Throws `key_unseal_failed`, `config_invalid`.
   */
  async read(): Promise<CachedState | null> {
    const { path, key, trustDomain, log } = this.#options;
    try {
      const contents = await readSealed(path, key);
      if (contents === null) return null;
      const state = decodeState(contents, trustDomain);
      contents.fill(0);
      return state;
    } catch (error) {
      if (['key_unseal_failed', 'config_invalid'].includes(errorCodeOf(error))) throw error;
      await rename(path, `${path}.damaged`);
      const reason = (error as Error).message;
      log.error({ reason, kept: `${path}.damaged` }, 'the cache is of no use: the agent starts without it');
      return null;
    }
  }

  /**
   * Writes what `state` gives, so that an agent that serves can start again; from now on each {@link changed} writes what
   * it then gives. Null is nothing yet.
   */
  async keep(state: () => CachedState | null): Promise<void> {
    this.#state = state;
    await this.#write();
  }

  changed(): void {
    this.#changed = true;
    this.#writing ??= this.#run().finally(() => {
      this.#writing = null;
    });
  }

  /** Resolves once what there is now has been written, or could not be. */
  async flush(): Promise<void> {
    await this.#write();
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#writing;
    if (this.#changed) await this.#write();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await sleep(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    while (this.#changed && !signal.aborted) {
      const began = performance.now();
      await this.#write();
      const pauseMs = Math.max(INTERVAL_MS, PAUSE_FACTOR * (performance.now() - began));
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One after the other. Never rejects: an agent goes on without its cache. */
  #write(): Promise<void> {
    this.#written = this.#written.then(() => this.#writeNow());
    return this.#written;
  }

  async #writeNow(): Promise<void> {
    const { path, key, log } = this.#options;
    this.#changed = false;
    try {
      const state = this.#state();
      if (state === null) return;
      const contents = encodeState(state);
      await writeSealed(path, key, contents);
      contents.fill(0);
    } catch (error) {
      this.#changed = true;
      log.error({ err: error }, 'the cache could not be written: a restart now starts from an older one');
    }
  }
}
