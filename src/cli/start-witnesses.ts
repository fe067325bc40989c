import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { SignedTree } from '../audit/log-store.ts';
import type { Witness, WitnessProblem, WitnessState, WitnessStore } from '../audit/witness.ts';
import { WitnessClient } from '../audit/witness-client.ts';
import { Witnesses } from '../audit/witnesses.ts';
import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { releaseLease, takeLease } from '../db/leases.ts';
import { isRetryable } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { WitnessConfig } from '../witness-settings.ts';
import { Leadership } from './leadership.ts';

export interface WitnessesPartOptions {
  readonly config: WitnessConfig;
  readonly database: Database;
  readonly store: WitnessStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const LEASE = 'witnesses';
/** What says that the log is not what it was. */
const ALARMS: ReadonlySet<string> = new Set(['ahead', 'forked']);

/** Has one of the servers ask the witnesses for cosignatures; null without any. Two at once would do no harm. */
export function startWitnesses(options: WitnessesPartOptions): AsyncDisposable | null {
  const { config, database, log } = options;
  if (config.witnesses.length === 0) return null;
  const holder = `${hostname()}:${randomUUID()}`;
  return new Leadership({
    take: (seconds) => takeLease(database, LEASE, holder, seconds),
    release: () => releaseLease(database, LEASE, holder),
    lead: async () => lead(options),
    log,
    now: () => performance.now(),
    random: Math.random,
  });
}

function lead({ config, store, clock, log, metrics }: WitnessesPartOptions): AsyncDisposable {
  const client = new WitnessClient();
  let failure: string | null = null;
  const witnesses = new Witnesses({
    store,
    post: (witness, body) => client.post(witness, body),
    intervalSeconds: config.witnessInterval,
    onRound: (states, head) => {
      failure = null;
      showLag(metrics, states, head, clock());
    },
    onProblem: (witness, problem, isNew) => {
      metrics.logWitnessFailures.inc({ witness: witness.id, reason: problem.code });
      if (isNew) report(log, witness, problem);
    },
    onRecovered: ({ id }) => log.info({ witness: id }, 'the witness cosigns the log again'),
    onFailed: (error) => {
      const { message } = error as Error;
      // In each round: only what is new is said.
      if (message === failure) return;
      failure = message;
      if (isRetryable(error)) log.warn({ reason: message }, 'witnesses were not asked; they will be');
      else log.error({ err: error }, 'witnesses were not asked');
    },
    now: () => performance.now(),
    random: Math.random,
  });
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = witnesses[Symbol.asyncDispose]();
      client[Symbol.dispose]();
      await ended;
      // Another server tells of it from now on.
      metrics.logWitnessLagSeconds.reset();
      metrics.logWitnessLagEntries.reset();
    },
  };
}

function showLag(metrics: Metrics, states: readonly WitnessState[], head: SignedTree, now: number): void {
  for (const { id: witness, size, behindSince } of states) {
    const lagMs = behindSince === null ? 0 : Math.max(0, now - behindSince.getTime());
    metrics.logWitnessLagSeconds.set({ witness }, lagMs / 1000);
    metrics.logWitnessLagEntries.set({ witness }, Math.max(0, head.size - size));
  }
}

function report(log: Logger, { id: witness, url }: Witness, { code, reason }: WitnessProblem): void {
  const fields = { witness, url, code, reason };
  if (ALARMS.has(code))
    log.error(fields, 'ALARM: a witness says that the log is not what it was: see docs/AUDIT.md, Witnesses');
  else log.warn(fields, 'a witness does not cosign the log; it is asked again');
}
