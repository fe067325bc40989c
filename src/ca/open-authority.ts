import { parseCertificate } from '../x509/certificate.ts';
import type { Authority, SigningAuthority } from './authority.ts';
import type { NewAuthority } from './authority-store.ts';
import type { KeptKey, KeyStore } from './key-store.ts';

/**
 * An authority with its key at hand, ready to sign. Throws `key_unseal_failed`, also for a key that is not the
 * certificate's, and `authority_unavailable` once the key is destroyed.
 */
export function openAuthority(
  stored: Authority & KeptKey & Pick<NewAuthority, 'keyAlgorithm' | 'intermediates'>,
  keys: KeyStore,
): SigningAuthority {
  const { id, kind, state, parentId, certificate, notBefore, notAfter } = stored;
  const { keyAlgorithm, sealedKey, keyReference } = stored;
  const { spki } = parseCertificate(certificate);
  const signer = keys.open({ id, keyAlgorithm, sealedKey, keyReference, publicKey: spki });
  // A root is never sent: whoever trusts it has it.
  const chain = kind === 'root' ? [] : [certificate, ...stored.intermediates];
  return { id, kind, state, parentId, certificate, notBefore, notAfter, signer, chain };
}
