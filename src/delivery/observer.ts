/** What a proxy calls itself. */
export interface NodeNames {
  readonly id: string;
  readonly cluster: string;
  readonly userAgent: string;
  /** Where it says that its admin interface is. */
  readonly adminAddress?: string | null;
}

/** What a protocol reports of one stream, so that `carnet proxies` and rotation can count acknowledgements. */
export interface StreamObserver {
  /** Envoy's `node.id` or its like, once known. Untrusted text: it names nothing but itself. */
  named(node: NodeNames): void;
  /** At its beginning the proxy said that it has this version already. Untrusted, as nobody here sent it. */
  kept(name: string, version: string): void;
  /** A version of a resource went out. `expiresAt` is the certificate's end, null for a bundle. */
  sent(name: string, version: string, expiresAt: Date | null): void;
  /** The proxy said that it accepted this version. */
  acknowledged(name: string, version: string): void;
  /** Until then at most (milliseconds since the epoch) it is looked whether what it acknowledged is in use; null: no longer. */
  observing(until: number | null): void;
  /** The proxy was seen to use this version. */
  observed(name: string, version: string): void;
  /** The proxy refused this version, with its own words (already cut to a bounded length). */
  rejected(name: string, version: string, message: string): void;
  /** The names that the stream asks for and does not get, now: replaces what was reported before. */
  waiting(names: readonly string[]): void;
  /** The stream no longer asks for this resource. */
  dropped(name: string): void;
  /** The stream ended. */
  closed(): void;
}

/** Tells both everything. */
export function observedByBoth(one: StreamObserver, other: StreamObserver): StreamObserver {
  return {
    named: (node) => {
      one.named(node);
      other.named(node);
    },
    kept: (name, version) => {
      one.kept(name, version);
      other.kept(name, version);
    },
    sent: (name, version, expiresAt) => {
      one.sent(name, version, expiresAt);
      other.sent(name, version, expiresAt);
    },
    acknowledged: (name, version) => {
      one.acknowledged(name, version);
      other.acknowledged(name, version);
    },
    observing: (until) => {
      one.observing(until);
      other.observing(until);
    },
    observed: (name, version) => {
      one.observed(name, version);
      other.observed(name, version);
    },
    rejected: (name, version, message) => {
      one.rejected(name, version, message);
      other.rejected(name, version, message);
    },
    waiting: (names) => {
      one.waiting(names);
      other.waiting(names);
    },
    dropped: (name) => {
      one.dropped(name);
      other.dropped(name);
    },
    closed: () => {
      one.closed();
      other.closed();
    },
  };
}
