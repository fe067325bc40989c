import { authorityIssuance } from '../ca/authority-issuance.ts';
import type {
  AuthorityStore,
  AuthorityTransaction,
  NewAuthority,
  StoredAuthority,
} from '../ca/authority-store.ts';
import { type CreatedAuthority, createIssuing, createRoot } from '../ca/create-authority.ts';
import type { KeyEncryptionKey } from '../ca/key-encryption-key.ts';
import { openAuthority } from '../ca/open-authority.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { plan, type Schedule, type Step } from './plan.ts';

export interface ApplyOptions {
  readonly store: AuthorityStore;
  readonly keyEncryptionKey: KeyEncryptionKey;
  readonly trustDomain: TrustDomain;
  readonly schedule: Schedule;
  readonly rootKeyType: KeyAlgorithm;
  readonly issuingKeyType: KeyAlgorithm;
  readonly backdateSeconds: number;
  readonly clock: Clock;
}

/** More steps than any plan has: one that never comes to an end is a fault of ours. */
const STEPS_LIMIT = 10;

/**
 * Carries out what the plan asks for, all of it in one transaction under the lock of authorities: it is planned
 * again inside, so of several replicas that act at once one does the work and the others find it done. `actor`
 * is on record with each step. Resolves to the steps taken.
 */
export function applyPlan(options: ApplyOptions, actor: string): Promise<Step[]> {
  const { store, schedule, clock } = options;
  return store.transact(async (tx) => {
    const done: Step[] = [];
    for (;;) {
      const authorities = await tx.list();
      const [step] = plan(clock(), authorities, schedule);
      if (step === undefined) return done;
      if (done.length === STEPS_LIMIT)
        throw new CarnetError('internal', `the plan of authorities has no end: ${JSON.stringify(step)}`);
      await carryOut(step, tx, authorities, options, actor);
      done.push(step);
    }
  });
}

async function carryOut(
  step: Step,
  tx: AuthorityTransaction,
  authorities: readonly StoredAuthority[],
  options: ApplyOptions,
  actor: string,
): Promise<void> {
  const { keyEncryptionKey: kek, schedule } = options;
  switch (step.kind) {
    case 'create-root': {
      const root = await createRoot(requestOf(options, options.rootKeyType, schedule.rootTtlMs), kek);
      await activate(root, tx, actor, step.why);
      await tx.publishBundle([root.stored.id], []);
      return;
    }
    case 'create-issuing': {
      const parent = openAuthority(find(authorities, step.parentId), kek);
      const request = requestOf(options, options.issuingKeyType, schedule.issuingTtlMs);
      const issuing = await createIssuing(parent, request, kek);
      if (step.supersedes !== null)
        await changeState(tx, authorities, step.supersedes, 'draining', actor, step.why);
      return activate(issuing, tx, actor, step.why);
    }
    case 'retire':
      return changeState(tx, authorities, step.id, 'retired', actor, step.why);
  }
}

/** Stores a new authority, its certificate's record and who made it, and puts it to use. */
async function activate(
  { stored }: CreatedAuthority,
  tx: AuthorityTransaction,
  actor: string,
  reason: string,
): Promise<void> {
  const active = { ...stored, state: 'active' } as const;
  await tx.insert(active);
  await tx.record(authorityIssuance(active, actor));
  await tx.event({
    actor,
    action: 'authority.create',
    subject: stored.id,
    before: null,
    after: publicPart(active),
    reason,
  });
}

async function changeState(
  tx: AuthorityTransaction,
  authorities: readonly StoredAuthority[],
  id: string,
  state: 'draining' | 'retired',
  actor: string,
  reason: string,
): Promise<void> {
  const authority = find(authorities, id);
  await tx.setState(id, state);
  await tx.event({
    actor,
    action: state === 'draining' ? 'authority.drain' : 'authority.retire',
    subject: id,
    before: publicPart(authority),
    after: publicPart({ ...authority, state }),
    reason,
  });
}

function requestOf(options: ApplyOptions, keyAlgorithm: KeyAlgorithm, ttlMs: number) {
  const { trustDomain, backdateSeconds, clock } = options;
  return { trustDomain, keyAlgorithm, ttlSeconds: ttlMs / 1000, backdateSeconds, now: clock() };
}

function find(authorities: readonly StoredAuthority[], id: string): StoredAuthority {
  const found = authorities.find((authority) => authority.id === id);
  if (found === undefined) throw new CarnetError('not_found', `there is no authority ${id}`);
  return found;
}

/** What an operator event says of an authority: everything but the key. */
function publicPart(authority: NewAuthority): Record<string, unknown> {
  const { id, kind, state, parentId, notBefore, notAfter, keyAlgorithm } = authority;
  return {
    id,
    kind,
    state,
    parent_id: parentId,
    key_algorithm: keyAlgorithm,
    not_before: notBefore.toISOString(),
    not_after: notAfter.toISOString(),
  };
}
