import { z } from 'zod';
import { CarnetError, isRetryable } from '../errors.ts';
import type { LookUp } from './look-up.ts';

const NODE = z.object({ metadata: z.object({ uid: z.string() }) });
/** RFC 1123, a subdomain. What is none must not get into a path of the API. */
const NODE_NAME = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/;
/** Ours: a node that was removed counts for so long. */
const MAX_AGE_MS = 10 * 60_000;
/** Twice as many as Kubernetes is made for; past it the one asked for longest ago is forgotten. */
const MAX_NODES = 10_000;

/** Which nodes are the cluster's, by the API server's word. Needs `get` on nodes. */
export class ClusterNodes {
  readonly #lookUp: LookUp;
  readonly #now: () => number;
  readonly #uids = new Map<string, { readonly uid: string; readonly at: number }>();

  /** `now` is in milliseconds, and never goes back. */
  constructor(lookUp: LookUp, now: () => number) {
    this.#lookUp = lookUp;
    this.#now = now;
  }

  /**
   * Throws `attestation_failed` for what is none of the cluster's nodes, or another of the name; and as
   * {@link LookUp.find} does. While the API server can't be asked its last word counts.
   */
  async check(name: string, uid: string): Promise<void> {
    const known = this.#uids.get(name);
    if (known?.uid === uid && this.#now() - known.at < MAX_AGE_MS) return;
    try {
      await this.#ask(name, uid);
    } catch (error) {
      if (known?.uid !== uid || !isRetryable(error)) throw error;
    }
  }

  async #ask(name: string, uid: string): Promise<void> {
    if (!NODE_NAME.test(name)) throw unconfirmed(`${JSON.stringify(name.slice(0, 300))} is no node's name`);
    const found = await this.#lookUp.find(`/api/v1/nodes/${name}`, `the node ${name}`);
    this.#uids.delete(name);
    if (found === null) throw unconfirmed(`the cluster has no node ${name}`);
    const is = NODE.parse(found).metadata.uid;
    this.#uids.set(name, { uid: is, at: this.#now() });
    for (const oldest of this.#uids.keys()) {
      if (this.#uids.size <= MAX_NODES) break;
      this.#uids.delete(oldest);
    }
    if (is !== uid)
      throw unconfirmed(`the cluster's node ${name} has UID ${is}, not ${uid}: it is another one`);
  }
}

/** What somebody says of the cluster is not so by the API server's word. */
export function unconfirmed(why: string): CarnetError {
  return new CarnetError('attestation_failed', `the cluster does not confirm it: ${why}`);
}
