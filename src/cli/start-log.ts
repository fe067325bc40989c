import { originOf } from '../audit/log-key.ts';
import type { LogStore, StoredLogKey } from '../audit/log-store.ts';
import { sequence } from '../audit/sequence.ts';
import { SEQUENCER_PAUSE_MS, Sequencer } from '../audit/sequencer.ts';
import type { AllKeys, KeyStore } from '../ca/key-store.ts';
import type { Signer } from '../ca/signer.ts';
import { errorCodeOf, isRetryable } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';

export interface LogOptions {
  readonly store: LogStore;
  readonly keys: AllKeys;
  readonly trustDomain: TrustDomain;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Puts what is recorded into the log, while it is this replica's turn, until it is disposed of. */
export function startLog({ store, keys, trustDomain, log, metrics }: LogOptions): AsyncDisposable {
  // Its key is of Ed25519, which is not made in hardware.
  const options = { store, open: openOnce(keys), newKeys: keys.sealed, origin: originOf(trustDomain) };
  let wholeAt = performance.now();
  metrics.beforeScrape(() => metrics.logLagSeconds.set((performance.now() - wholeAt) / 1000));
  let problem: string | null = null;
  return new Sequencer({
    sequence: (seen, limit) => sequence(options, seen, limit),
    onTurn: ({ head, whole }) => {
      metrics.logSize.set(head?.size ?? 0);
      if (whole) wholeAt = performance.now();
      if (problem !== null) log.info('records come into the log again');
      problem = null;
    },
    onFailed: (error) => {
      metrics.logFailures.inc({ code: errorCodeOf(error) });
      const { message } = error as Error;
      // Two turns a second: only what is new is said.
      if (message === problem) return;
      problem = message;
      if (isRetryable(error))
        log.warn({ reason: message }, 'records could not be put into the log; it is tried again');
      else log.error({ err: error }, 'records are not put into the log any more');
    },
    pauseMs: SEQUENCER_PAUSE_MS,
  });
}

/** As with other keys, a server goes on with what it opened while its key-encryption key is being replaced. */
function openOnce(keys: KeyStore): (key: StoredLogKey) => Signer {
  let opened: { readonly id: string; readonly signer: Signer } | null = null;
  return (key) => {
    if (opened?.id !== key.id) opened = { id: key.id, signer: keys.open(key) };
    return opened.signer;
  };
}
