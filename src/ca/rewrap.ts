import type { AuthorityStore } from './authority-store.ts';
import type { KeyEncryptionKey } from './key-encryption-key.ts';
import { sealedUnder, sealKey, unsealKey } from './seal.ts';

export interface Rewrapped {
  /** Authorities whose keys were put under the new key-encryption key. */
  readonly rewrapped: readonly string[];
  /** Those whose keys were under it already, from an earlier run. */
  readonly before: readonly string[];
}

/**
 * Seals every authority's key under `to` in place of `from`, all of them in one transaction, and records it. The
 * keys themselves, and what they signed, stay as they are. Run again, it finds nothing to do. Throws
 * `key_unseal_failed`, and then has changed nothing.
 */
export function rewrapKeys(
  store: AuthorityStore,
  from: KeyEncryptionKey,
  to: KeyEncryptionKey,
  actor: string,
): Promise<Rewrapped> {
  return store.transact(async (tx) => {
    const rewrapped: string[] = [];
    const before: string[] = [];
    for (const { id, sealedKey } of await tx.list()) {
      if (sealedKey === null) continue;
      if (sealedUnder(sealedKey) === to.id) {
        before.push(id);
        continue;
      }
      const pkcs8 = unsealKey(from, id, sealedKey);
      const resealed = sealKey(to, id, pkcs8);
      pkcs8.fill(0);
      // It opens before the only other copy is overwritten.
      unsealKey(to, id, resealed).fill(0);
      await tx.reseal(id, resealed);
      await tx.event({
        actor,
        action: 'authority.rewrap',
        subject: id,
        before: { key_encryption_key: from.id },
        after: { key_encryption_key: to.id },
        reason: '',
      });
      rewrapped.push(id);
    }
    return { rewrapped, before };
  });
}
