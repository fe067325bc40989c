import type { Consumer, Outstanding } from './fleet.ts';

/**
 * How long a proxy is looked at, at most, until it is seen to use what it acknowledged: then its acknowledgement has to
 * do. Envoy uses a secret before it acknowledges it, so one look is the rule.
 */
export const OBSERVATION_MS = 10_000;

/** A consumer that a step waits for, and why, for people. Times are milliseconds since the epoch. */
export interface Laggard {
  readonly instance: string;
  readonly node: string;
  readonly names: readonly string[];
  readonly why: string;
  /** When it will no longer be waited for by itself; null where only it, or an operator, can help. */
  readonly until: number | null;
  /** Its last refusal, in its own words. */
  readonly problem: string | null;
}

/**
 * Who does not yet trust what the bundle of `sequence` brought. An activation that waits for all of them breaks
 * nobody. A proxy that is away counts while it may still present, and so verify by, what it holds.
 */
export function laggards(
  sequence: number,
  now: number,
  holdSeconds: number,
  consumers: readonly Consumer[],
): Laggard[] {
  return consumers.flatMap((consumer) => {
    if (!takesTrust(consumer, now)) return [];
    const found = lag(consumer, sequence, now, holdSeconds * 1000);
    if (found === null) return [];
    const { instance, node, names, problem } = consumer;
    return [{ instance, node, names, problem, ...found }];
  });
}

/** Who may still present a certificate of one of these authorities. */
export function presenters(
  authorityIds: ReadonlySet<string>,
  now: number,
  consumers: readonly Consumer[],
): Laggard[] {
  return consumers.flatMap((consumer) => {
    const { instance, node, names, problem, gone, authorities, holdsUntil } = consumer;
    if (gone || holdsUntil === null || holdsUntil <= now) return [];
    const laggard = { instance, node, names, problem };
    if (authorities.some((id) => authorityIds.has(id))) {
      return [{ ...laggard, why: whyPresenting(consumer), until: holdsUntil }];
    }
    if (!isLookedAt(consumer, now)) return [];
    const why = 'has acknowledged its new certificate, and is not seen to present it yet';
    return [{ ...laggard, why, until: consumer.observesUntil }];
  });
}

function whyPresenting({ streams, acknowledges }: Consumer): string {
  if (streams === 0) return 'is away and may still run';
  return acknowledges
    ? 'has not acknowledged its new certificate'
    : 'cannot acknowledge its new certificate, and may present the old one';
}

/** Whether it acknowledged the bundle of `sequence`, or cannot and was held for. */
export function hasAcknowledged(
  consumer: Consumer,
  sequence: number,
  now: number,
  holdSeconds: number,
): boolean {
  return unacknowledged(consumer, sequence, now, holdSeconds * 1000) === null;
}

/** What keeps old authorities from being dropped from the bundles. */
export interface RetireGate {
  readonly presenters: readonly Laggard[];
  /** Certificates that no consumer accounts for. */
  readonly outstanding: Outstanding;
}

/**
 * Whether nothing that is presented still chains to them. After a compromise only those count that are connected
 * and so could be given another: whoever else shows such a certificate may be the attacker.
 */
export function mayRetire(gate: RetireGate, urgent: boolean, connected: ReadonlySet<string>): boolean {
  if (urgent) return gate.presenters.every(({ instance }) => !connected.has(instance));
  return gate.presenters.length === 0 && gate.outstanding.count === 0;
}

/** Whether the fleet waits for it at all: it has its trust from us, and is there or may come back. */
export function takesTrust({ gone, bundleSent, streams, holdsUntil }: Consumer, now: number): boolean {
  if (gone || bundleSent === null) return false;
  return streams > 0 || (holdsUntil !== null && holdsUntil > now);
}

function lag(
  consumer: Consumer,
  sequence: number,
  now: number,
  holdMs: number,
): Pick<Laggard, 'why' | 'until'> | null {
  const missing = unacknowledged(consumer, sequence, now, holdMs);
  if (missing !== null) return missing;
  if ((consumer.bundleObserved ?? 0) >= sequence || !isLookedAt(consumer, now)) return null;
  return {
    why: 'has acknowledged the bundle, and is not seen to use it yet',
    until: consumer.observesUntil,
  };
}

/** A time further away was set by another clock than ours: it is not waited for. */
function isLookedAt({ observesUntil }: Consumer, now: number): boolean {
  return observesUntil !== null && now < observesUntil && observesUntil <= now + OBSERVATION_MS;
}

function unacknowledged(
  consumer: Consumer,
  sequence: number,
  now: number,
  holdMs: number,
): Pick<Laggard, 'why' | 'until'> | null {
  const { acknowledges, bundleSent, bundleSentAt, bundleAcknowledged, streams, holdsUntil } = consumer;
  if (acknowledges) {
    if ((bundleAcknowledged ?? 0) >= sequence) return null;
    if (streams === 0) return { why: 'is away, and has not acknowledged the bundle', until: holdsUntil };
    if ((bundleSent ?? 0) < sequence) return { why: 'has not been sent the bundle', until: null };
    return { why: 'has not acknowledged the bundle', until: null };
  }
  if ((bundleSent ?? 0) < sequence) return { why: 'has not been sent the bundle', until: holdsUntil };
  const heldMs = holdMs === 0 ? 0 : Math.max(holdMs, (consumer.minHoldSeconds ?? 0) * 1000);
  const until = (bundleSentAt ?? now) + heldMs;
  return now >= until ? null : { why: 'cannot acknowledge, and is held for', until };
}
