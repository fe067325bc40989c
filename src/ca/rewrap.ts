import type { OperatorEvent } from '../audit/operator-event.ts';
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
 * Seals every authority's key, that of a request to an outside CA, and the log's, under `to` in place of `from`, all of them in
 * one transaction, and records it. The keys themselves, and what they signed, stay as they are. Run again, it finds
 * nothing to do. Throws `key_unseal_failed`, and then has changed nothing.
 */
export function rewrapKeys(
  store: AuthorityStore,
  from: KeyEncryptionKey,
  to: KeyEncryptionKey,
  actor: string,
): Promise<Rewrapped> {
  return store.transact(async (tx) => {
    const request = await tx.upstreamRequest();
    const logKey = await tx.logKey();
    const rewrapped: string[] = [];
    const before: string[] = [];
    const authorities = [...(await tx.list()), ...(await tx.jwtKeys())];
    for (const { id, sealedKey } of [
      ...authorities,
      ...(request ? [request] : []),
      ...(logKey ? [logKey] : []),
    ]) {
      if (sealedKey === null) continue;
      if (sealedUnder(sealedKey) === to.id) {
        before.push(id);
        continue;
      }
      const resealed = reseal(id, sealedKey, from, to);
      if (id === request?.id) await tx.replaceUpstreamRequest({ ...request, sealedKey: resealed });
      else if (id === logKey?.id) await tx.resealLogKey(resealed);
      else await tx.reseal(id, resealed);
      await tx.event(eventOf(id, from, to, actor));
      rewrapped.push(id);
    }
    return { rewrapped, before };
  });
}

function reseal(id: string, sealedKey: Uint8Array, from: KeyEncryptionKey, to: KeyEncryptionKey): Uint8Array {
  const pkcs8 = unsealKey(from, id, sealedKey);
  const resealed = sealKey(to, id, pkcs8);
  pkcs8.fill(0);
  // It opens before the only other copy is overwritten.
  unsealKey(to, id, resealed).fill(0);
  return resealed;
}

function eventOf(id: string, from: KeyEncryptionKey, to: KeyEncryptionKey, actor: string): OperatorEvent {
  return {
    actor,
    action: 'authority.rewrap',
    subject: id,
    before: { key_encryption_key: from.id },
    after: { key_encryption_key: to.id },
    reason: '',
  };
}
