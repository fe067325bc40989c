import type { StoredAuthority } from '../ca/authority-store.ts';
import { CarnetError } from '../errors.ts';
import type { StepContext, StoredSituation } from './apply.ts';

/** States in which a root is in the bundles, and a CA's CRL beside it. */
const PUBLISHED_STATES = new Set(['published', 'active', 'draining', 'tainted']);

/** IDs of the authorities that proxies must know now, in the order in which they were made. */
export function inUse(authorities: readonly StoredAuthority[]): string[] {
  return authorities.filter(({ state }) => PUBLISHED_STATES.has(state)).map(({ id }) => id);
}

/** Publishes a bundle of these authorities: the roots among them, and the CRL of each that has one. */
export async function publishTrusted(
  { tx }: StepContext,
  current: readonly string[],
  fresh: readonly string[],
): Promise<void> {
  const ids = new Set([...current, ...fresh]);
  const roots = (await tx.list()).filter(({ id, kind }) => kind === 'root' && ids.has(id));
  const withCrl = new Set((await tx.crls()).map(({ authorityId }) => authorityId));
  await tx.publishBundle(
    roots.map(({ id }) => id),
    [...ids].filter((id) => withCrl.has(id)),
  );
}

/** Throws `not_found`. */
export function findAuthority(
  { authorities }: Pick<StoredSituation, 'authorities'>,
  id: string,
): StoredAuthority {
  const found = authorities.find((authority) => authority.id === id);
  if (found === undefined) throw new CarnetError('not_found', `there is no authority ${id}`);
  return found;
}
