import type { AuthorityState } from '../ca/authority.ts';
import type { NewAuthority } from '../ca/authority-store.ts';
import type { JwtKey } from '../ca/jwt-key.ts';
import type { StepContext } from './apply.ts';

/** An authority whose change is recorded: a key of JWT-SVIDs has no parent. */
type Changed = NewAuthority | JwtKey;

/** Changes an authority's state, with its operator event. */
export async function setState(
  context: StepContext,
  authority: Changed,
  state: AuthorityState,
  action: string,
): Promise<void> {
  await context.tx.setState(authority.id, state);
  await recordChange(context, action, authority, { ...authority, state });
}

/** The operator event of a change of an authority. */
export function recordChange(
  { tx, actor, why }: StepContext,
  action: string,
  before: Changed | null,
  after: Changed,
): Promise<void> {
  return tx.event({
    actor,
    action,
    subject: after.id,
    before: before && publicPart(before),
    after: publicPart(after),
    reason: why,
  });
}

/** What an operator event says of an authority: everything but the key. */
function publicPart(authority: Changed): Record<string, unknown> {
  const { id, kind, state, notBefore, notAfter, keyAlgorithm } = authority;
  return {
    id,
    kind,
    state,
    parent_id: 'parentId' in authority ? authority.parentId : null,
    key_algorithm: keyAlgorithm,
    not_before: notBefore.toISOString(),
    not_after: notAfter.toISOString(),
  };
}
