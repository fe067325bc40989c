import { createJwtKey, type StoredJwtKey } from '../ca/jwt-key.ts';
import { CarnetError } from '../errors.ts';
import type { StepContext } from './apply.ts';
import { recordChange, setState } from './change.ts';
import type { Step } from './plan.ts';
import type { Rotation } from './rotation.ts';

/** The first key where there are authorities already. There is no token yet that somebody could refuse. */
export async function initializeJwt(context: StepContext): Promise<void> {
  await makeFirstKey(context);
  await context.tx.republishBundle();
}

/** A key that signs at once, and is in the next bundle. */
export async function makeFirstKey(context: StepContext): Promise<void> {
  const id = await makeKey(context);
  const key = find(await context.tx.jwtKeys(), id);
  await setState(context, key, 'active', 'authority.activate');
}

/** One step of a rotation of the keys that sign JWT-SVIDs. */
export function carryOutJwt(
  step: Extract<Step, { readonly rotation: Rotation }>,
  context: StepContext,
): Promise<void> {
  switch (step.kind) {
    case 'prepare':
      return prepare(step.rotation, context);
    case 'publish':
      return publish(step.rotation, context);
    case 'activate':
      return activate(step.rotation, context);
    case 'retire':
      return retire(step.rotation, context);
    case 'abort':
      return abort(step.rotation, context);
    case 'settle':
      throw new CarnetError('internal', 'a key of JWT-SVIDs is held for a time, and settles nothing');
  }
}

async function prepare(rotation: Rotation, context: StepContext): Promise<void> {
  await context.tx.updateRotation(rotation.id, { newId: await makeKey(context) });
}

/** It joins every bundle, and is held from then on. */
async function publish({ newId }: Rotation, context: StepContext): Promise<void> {
  await setState(context, keyOf(context, newId), 'published', 'authority.publish');
  await context.tx.republishBundle();
}

/** From here on the new key signs. The old one stays in the bundles. */
async function activate(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation } = context;
  for (const key of situation.jwt.keys)
    if (key.state === 'active' || key.state === 'tainted')
      await setState(context, key, 'draining', 'authority.drain');
  await setState(context, keyOf(context, rotation.newId), 'active', 'authority.activate');
  await tx.updateRotation(rotation.id, { requested: null, requestedBy: null, force: false });
}

/**
 * The old key leaves the bundles, and is destroyed. A replica that had not heard of the activation may have signed by
 * it since the plan was made: then all of this is rolled back, and planned anew.
 */
async function retire(rotation: Rotation, context: StepContext): Promise<void> {
  const { oldId, force, urgent, id } = rotation;
  await end(keyOf(context, oldId), context);
  const { count } = await context.tx.outstandingTokens(oldId);
  if (count > 0 && !force && !urgent)
    throw new CarnetError(
      'authority_unavailable',
      `${count} tokens were signed meanwhile: retiring is tried again`,
    );
  await context.tx.updateRotation(id, { outcome: 'done', requested: null, requestedBy: null, force: false });
}

/** Goes back, while nothing was signed by the new key. */
async function abort({ newId, id }: Rotation, context: StepContext): Promise<void> {
  if (newId !== null) await end(keyOf(context, newId), context);
  await context.tx.updateRotation(id, {
    outcome: 'aborted',
    requested: null,
    requestedBy: null,
    force: false,
  });
}

async function end(key: StoredJwtKey, context: StepContext): Promise<void> {
  const { tx, options } = context;
  await setState(context, key, 'retired', 'authority.retire');
  await options.keys.destroy(key);
  await tx.destroyKey(key.id);
  if (key.state !== 'prepared') await tx.republishBundle();
}

/** Stores a new key with who made it; returns its ID. */
async function makeKey(context: StepContext): Promise<string> {
  const { tx, options, now } = context;
  const { jwtKeyType: keyAlgorithm, schedule, keys } = options;
  const key = await createJwtKey({ keyAlgorithm, ttlSeconds: schedule.jwtKeyTtlMs / 1000, now }, keys);
  await tx.insertJwtKey(key);
  await recordChange(context, 'authority.create', null, key);
  return key.id;
}

function keyOf({ situation }: StepContext, id: string | null): StoredJwtKey {
  return find(situation.jwt.keys, id);
}

function find(keys: readonly StoredJwtKey[], id: string | null): StoredJwtKey {
  const key = keys.find((one) => one.id === id);
  if (key === undefined) throw new CarnetError('not_found', `there is no key ${id} for JWT-SVIDs`);
  return key;
}
