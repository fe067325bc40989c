import type { StoredAuthority } from '../ca/authority-store.ts';
import type { StepContext } from './apply.ts';
import { setState } from './change.ts';
import { inUse, publishTrusted } from './published.ts';

/** Takes authorities out of the bundles, where they are in them, and destroys their keys for ever. */
export async function end(ended: readonly StoredAuthority[], context: StepContext): Promise<void> {
  const { tx, situation, options } = context;
  const ids = new Set(ended.map(({ id }) => id));
  const wasPublished = inUse(ended).length > 0;
  for (const authority of ended) {
    if (authority.state !== 'retired') await setState(context, authority, 'retired', 'authority.retire');
    await options.keys.destroy(authority);
    await tx.destroyKey(authority.id);
  }
  if (wasPublished)
    await publishTrusted(
      context,
      inUse(situation.authorities).filter((id) => !ids.has(id)),
      [],
    );
}
