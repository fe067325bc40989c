import type { Readiness } from '../api/health.ts';
import type { BatchRecorder } from '../audit/record.ts';
import type { RecordingWatch } from '../audit/watch-recording.ts';
import type { KeyStore } from '../ca/key-store.ts';
import type { DatabaseProbe } from '../db/probe.ts';
import type { Metrics } from '../metrics.ts';
import type { Authorities } from '../rotation/authorities.ts';

/** What there is to find out whether this server can issue. */
export interface Checked {
  readonly probe: DatabaseProbe;
  readonly recording: RecordingWatch;
  readonly authorities: Authorities;
  readonly keys: KeyStore;
}

/** Whether this server can issue, and what keeps it from it. */
export function readinessOf(started: boolean, { probe, recording, authorities, keys }: Checked): Readiness {
  let authority = 'an issuing CA signs';
  let canSign = true;
  try {
    authorities.active();
  } catch (error) {
    authority = (error as Error).message;
    canSign = false;
  }
  const checks = [
    { name: 'start', ok: started, detail: started ? 'everything is up' : 'the server is starting' },
    { name: 'database', ok: probe.problem === null, detail: probe.problem ?? 'it answers' },
    { name: 'recording', ok: recording.problem === null, detail: recording.problem ?? 'nothing failed' },
    { name: 'authority', ok: canSign, detail: authority },
    { name: 'keys', ok: keys.problem === null, detail: keys.problem ?? 'they can be used' },
  ];
  return { ready: checks.every(({ ok }) => ok), checks };
}

/** Metrics that show a state, taken when they are asked for. */
export function observeHealth(
  metrics: Metrics,
  { probe, recording, authorities }: Checked,
  recorder: BatchRecorder,
): void {
  metrics.beforeScrape(() => {
    metrics.databaseUp.set(probe.problem === null && recording.problem === null ? 1 : 0);
    metrics.recordQueueLength.set(recorder.queued);
    metrics.authorityExpiry.reset();
    for (const { id, kind, state, notAfter } of [...authorities.list(), ...authorities.jwtKeys()])
      if (state !== 'retired') metrics.authorityExpiry.set({ kind, id, state }, notAfter.getTime() / 1000);
  });
}
