import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { type ApplyOptions, applyPlan } from '../../src/rotation/apply.ts';
import type { Consumer } from '../../src/rotation/fleet.ts';
import { SETTLE_MS } from '../../src/rotation/plan.ts';
import { MemoryAuthorityStore } from './memory-store.ts';

export const DAY_MS = 86_400_000;
export const NOW = Date.UTC(2026, 5, 1);

/** A store, its options and a clock that stands still until it is set. */
export function createWorld(schedule: Partial<ApplyOptions['schedule']> = {}) {
  const store = new MemoryAuthorityStore();
  store.now = NOW;
  const options: ApplyOptions = {
    store,
    keys: sealedKeyStore(parseKeyEncryptionKey('00'.repeat(32))),
    trustDomain: parseTrustDomain('carnet.local'),
    schedule: {
      rootTtlMs: 360 * DAY_MS,
      issuingTtlMs: 8 * DAY_MS,
      rootShare: 2 / 3,
      issuingShare: 1 / 2,
      holdSeconds: 60,
      jwtKeyTtlMs: 1_000_000 * DAY_MS,
      jwtShare: 1 / 2,
      jwtHoldSeconds: 600,
      ...schedule,
    },
    rootKeyType: 'ec-p256',
    issuingKeyType: 'ec-p256',
    jwtKeyType: 'ec-p256',
    backdateSeconds: 30,
    clock: () => store.now,
  };
  return {
    store,
    options,
    /** The kinds of the steps taken, without the waits for what was acknowledged to be in use. */
    advance: async (): Promise<string[]> => {
      const kinds: string[] = [];
      for (;;) {
        const steps = await applyPlan(options, 'schedule:authorities');
        kinds.push(...steps.map(({ kind }) => kind).filter((kind) => kind !== 'settle'));
        if (!steps.some((step) => step.kind === 'settle' && step.open)) return kinds;
        store.now += SETTLE_MS;
      }
    },
    /** `root active, issuing draining, …`, by time of making. */
    states: (): string => store.state.authorities.map(({ kind, state }) => `${kind} ${state}`).join(', '),
    actions: (): string[] => store.state.events.map(({ action }) => action),
  };
}

export function consumer(instance: string, fields: Partial<Consumer> = {}): Consumer {
  return {
    instance,
    node: 'node-1',
    names: [instance],
    identities: [],
    streams: 1,
    gone: false,
    acknowledges: true,
    bundleSent: 1,
    bundleSentAt: NOW,
    bundleAcknowledged: 1,
    bundleObserved: null,
    observesUntil: null,
    authorities: [],
    holdsUntil: NOW + DAY_MS,
    problem: null,
    ...fields,
  };
}
