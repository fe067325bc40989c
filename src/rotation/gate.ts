import type { Consumer, Outstanding } from './fleet.ts';

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
  return consumers.flatMap(({ instance, node, names, problem, gone, authorities, holdsUntil, streams }) => {
    if (gone || holdsUntil === null || holdsUntil <= now) return [];
    if (!authorities.some((id) => authorityIds.has(id))) return [];
    const why = streams > 0 ? 'has not acknowledged its new certificate' : 'is away and may still run';
    return [{ instance, node, names, problem, why, until: holdsUntil }];
  });
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
function takesTrust({ gone, bundleSent, streams, holdsUntil }: Consumer, now: number): boolean {
  if (gone || bundleSent === null) return false;
  return streams > 0 || (holdsUntil !== null && holdsUntil > now);
}

function lag(
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
  const until = (bundleSentAt ?? now) + holdMs;
  return now >= until ? null : { why: 'cannot acknowledge, and is held for', until };
}
