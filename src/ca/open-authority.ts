import { CarnetError } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import { parseCertificate } from '../x509/certificate.ts';
import type { Authority, SigningAuthority } from './authority.ts';
import type { NewAuthority } from './authority-store.ts';
import type { KeyEncryptionKey } from './key-encryption-key.ts';
import { unsealKey } from './seal.ts';
import { softwareSigner } from './software-signer.ts';

/**
 * An authority with its key unsealed, ready to sign. Throws `key_unseal_failed`, also for a key that is not
 * the certificate's, and `authority_unavailable` once the key is destroyed.
 */
export function openAuthority(
  stored: Authority & Pick<NewAuthority, 'sealedKey'>,
  kek: KeyEncryptionKey,
): SigningAuthority {
  const { id, kind, state, parentId, certificate, notBefore, notAfter, sealedKey } = stored;
  if (sealedKey === null)
    throw new CarnetError(
      'authority_unavailable',
      `the key of authority ${id} is destroyed or not sealed here`,
    );
  const pkcs8 = unsealKey(kek, id, sealedKey);
  const signer = softwareSigner(pkcs8);
  pkcs8.fill(0);
  if (!equalBytes(signer.publicKey, parseCertificate(certificate).spki))
    throw new CarnetError('key_unseal_failed', `the sealed key of authority ${id} is not its certificate's`);
  // A root is never sent: whoever trusts it has it.
  const chain = kind === 'root' ? [] : [certificate];
  return { id, kind, state, parentId, certificate, notBefore, notAfter, signer, chain };
}
