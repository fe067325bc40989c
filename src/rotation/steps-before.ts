import { authorityIssuance } from '../ca/authority-issuance.ts';
import type { StoredAuthority } from '../ca/authority-store.ts';
import { type CreatedAuthority, createIssuing, createRoot, crossSign } from '../ca/create-authority.ts';
import { nextCrl } from '../ca/crl.ts';
import { openAuthority } from '../ca/open-authority.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { StepContext } from './apply.ts';
import { recordChange, setState } from './change.ts';
import { end } from './end.ts';
import { makeFirstKey } from './jwt-steps.ts';
import { successorIssuing } from './plan.ts';
import { findAuthority, inUse, publishTrusted } from './published.ts';
import type { Rotation } from './rotation.ts';

/** The first root and issuing CA, and the first key for JWT-SVIDs: there is nobody yet who could be broken. */
export async function initialize(context: StepContext): Promise<void> {
  const root = await makeRoot(context, null);
  const issuing = await makeIssuing(root, context);
  await makeFirstKey(context);
  await publishTrusted(context, [], [root.stored.id, issuing.stored.id]);
  for (const { stored } of [root, issuing]) await setState(context, stored, 'active', 'authority.activate');
}

/** Makes what is to come: a root with an issuing CA, or an issuing CA alone. Nobody hears of it yet. */
export async function prepare(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation } = context;
  if (rotation.kind === 'root' && rotation.newId === null) {
    const root = await makeRoot(context, rotation.crossSign ? rotation.oldId : null);
    await makeIssuing(root, context);
    return tx.updateRotation(rotation.id, { newId: root.stored.id });
  }
  const stale = successorIssuing(situation.authorities, rotation);
  if (stale !== undefined) {
    await end([findAuthority(situation, stale.id)], context);
  }
  const parentId =
    rotation.kind === 'root' ? rotation.newId : findAuthority(situation, rotation.oldId).parentId;
  const parent = findAuthority(situation, parentId ?? '');
  const signing = openAuthority(parent, context.options.keys);
  const issuing = await makeIssuing({ signing, stored: parent }, context);
  if (rotation.kind === 'issuing') await tx.updateRotation(rotation.id, { newId: issuing.stored.id });
}

/** The new root joins every bundle, and with it the CRLs of what is to sign. */
export async function publish(rotation: Rotation, context: StepContext): Promise<void> {
  const { situation } = context;
  const issuing = successorIssuing(situation.authorities, rotation);
  const fresh = [rotation.newId, issuing?.id].filter((id) => id != null);
  await publishTrusted(context, inUse(situation.authorities), fresh);
  for (const id of new Set(fresh)) {
    const authority = findAuthority(situation, id);
    if (authority.state === 'prepared') await setState(context, authority, 'published', 'authority.publish');
  }
}

async function makeRoot(context: StepContext, crossSignerId: string | null): Promise<CreatedAuthority> {
  const { tx, situation, actor, options } = context;
  const { rootKeyType, schedule, keys, trustDomain } = options;
  const created = await createRoot(requestOf(context, rootKeyType, schedule.rootTtlMs), keys);
  if (crossSignerId === null) return store(created, context);
  const oldRoot = openAuthority(findAuthority(situation, crossSignerId), keys);
  const crossCertificate = await crossSign(created.signing, oldRoot, trustDomain);
  const stored = await store({ ...created, stored: { ...created.stored, crossCertificate } }, context);
  const certified = { ...created.stored, certificate: crossCertificate, parentId: oldRoot.id };
  await tx.record(authorityIssuance(certified, actor));
  return stored;
}

async function makeIssuing(
  root: Pick<CreatedAuthority, 'signing'> & { stored: unknown },
  context: StepContext,
): Promise<CreatedAuthority> {
  const { issuingKeyType, schedule, keys } = context.options;
  const request = requestOf(context, issuingKeyType, schedule.issuingTtlMs);
  return store(await createIssuing(root.signing, request, keys), context);
}

/** Stores a new authority with its first CRL, the record of its certificate, and who made it. */
async function store(created: CreatedAuthority, context: StepContext): Promise<CreatedAuthority> {
  const { tx, actor, options, now } = context;
  await tx.insert(created.stored);
  await tx.insertCrl(await nextCrl(created.signing, null, [], now, options.backdateSeconds));
  await tx.record(authorityIssuance(created.stored, actor));
  await recordChange(context, 'authority.create', null, created.stored as StoredAuthority);
  return created;
}

function requestOf({ options, now }: StepContext, keyAlgorithm: KeyAlgorithm, ttlMs: number) {
  const { trustDomain, backdateSeconds, publicUrl = null } = options;
  return { trustDomain, keyAlgorithm, ttlSeconds: ttlMs / 1000, backdateSeconds, publicUrl, now };
}
