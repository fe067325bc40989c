import type { Authority, SigningAuthority } from './authority.ts';
import type { NewAuthority } from './authority-store.ts';
import type { KeyStore, StoredKey } from './key-store.ts';

/**
 * An authority with its key at hand, ready to sign. Throws `key_unseal_failed`, also for a key that is not the
 * certificate's, and `authority_unavailable` once the key is destroyed.
 */
export function openAuthority(
  stored: Authority & StoredKey & Pick<NewAuthority, 'intermediates'>,
  keys: KeyStore,
): SigningAuthority {
  const { id, kind, state, parentId, certificate, notBefore, notAfter } = stored;
  const signer = keys.open(stored);
  // A root is never sent: whoever trusts it has it.
  const chain = kind === 'root' ? [] : [certificate, ...stored.intermediates];
  return { id, kind, state, parentId, certificate, notBefore, notAfter, signer, chain };
}
