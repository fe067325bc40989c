import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../clock.ts';
import { isRetryable } from '../../errors.ts';
import type { Health } from '../../gen/carnet/agent/v1/agent.ts';
import type { Logger } from '../../log.ts';
import { renewalTime, retryDelay } from '../../rotation/renewal.ts';
import type { AgentIdentity } from './agent-identity.ts';
import type { Connection } from './connection.ts';
import type { NodeIdentity } from './node-identity.ts';
import type { OwnIssuer } from './own-issuer.ts';
import type { Session } from './session.ts';

/** How often the wall clock is looked at, which may jump. */
const LOOK_MS = 1_000;
/** Ours: so that all agents of a fleet don't renew in the moment in which an authority is superseded. */
const SUPERSEDED_SPREAD_MS = 5_000;
const HEALTH_LOOK_MS = 5_000;
/** Looks from one report to the next, if nothing changes. */
const HEALTH_LOOKS = 6;

/**
 * Resolves when the agent has another certificate than `own`: in time before its end, and soon where its issuer is
 * superseded, as servers take no certificate of an authority that is retired. Rejects when it can't have one, and with the
 * signal.
 */
export async function renewInTime(
  identity: NodeIdentity,
  own: AgentIdentity,
  issuer: OwnIssuer,
  connection: Connection,
  { clock, random, log }: { readonly clock: Clock; readonly random: () => number; readonly log: Logger },
  signal: AbortSignal,
): Promise<void> {
  let at = renewalTime(own.notBefore, own.notAfter, random());
  let hastened = false;
  for (let failures = 0; ; ) {
    while (clock() < at) {
      await sleep(Math.min(LOOK_MS, at - clock()), undefined, { signal });
      if (hastened || !issuer.isSuperseded()) continue;
      hastened = true;
      at = Math.min(at, clock() + random() * SUPERSEDED_SPREAD_MS);
    }
    try {
      return await issuer.renew(() => identity.renew(connection));
    } catch (error) {
      const restMs = own.notAfter - clock();
      if (!isRetryable(error) || restMs <= 0) throw error;
      at = clock() + retryDelay(++failures, restMs, random());
      log.warn({ reason: (error as Error).message }, "the agent's own certificate could not be renewed yet");
    }
  }
}

/** Tells the server how the agent fares, when that changes and at times. Ends with the signal only. */
export async function reportHealth(
  session: Session,
  healthNow: () => Health,
  signal: AbortSignal,
): Promise<never> {
  let last = '';
  for (let look = 0; ; look++) {
    const health = healthNow();
    const now = JSON.stringify(health);
    if (now !== last || look % HEALTH_LOOKS === 0) session.report(health);
    last = now;
    await sleep(HEALTH_LOOK_MS, undefined, { signal });
  }
}
