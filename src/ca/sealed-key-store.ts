import { CarnetError } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import type { KeyEncryptionKey } from './key-encryption-key.ts';
import type { KeyStore, NewKey, StoredKey } from './key-store.ts';
import { sealKey, unsealKey } from './seal.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';
import { generatePrivateKey, softwareSigner } from './software-signer.ts';

/** Keys in software: in this process while they are used, and stored under `kek` only. */
export function sealedKeyStore(kek: KeyEncryptionKey): KeyStore {
  return {
    generate: (algorithm) => generateSealed(kek, algorithm),
    open: (stored) => openSealed(kek, stored),
    destroy: async () => undefined,
    problem: null,
    close: async () => undefined,
  };
}

async function generateSealed(kek: KeyEncryptionKey, algorithm: KeyAlgorithm): Promise<NewKey> {
  const pkcs8 = await generatePrivateKey(algorithm);
  return {
    signer: softwareSigner(pkcs8),
    keep: async (authorityId) => {
      const sealedKey = sealKey(kek, authorityId, pkcs8);
      pkcs8.fill(0);
      return { sealedKey, keyReference: null };
    },
    discard: async () => {
      pkcs8.fill(0);
    },
  };
}

function openSealed(kek: KeyEncryptionKey, { id, publicKey, sealedKey }: StoredKey): Signer {
  if (sealedKey === null)
    throw new CarnetError('authority_unavailable', `the key of authority ${id} is destroyed, or is not ours`);
  const pkcs8 = unsealKey(kek, id, sealedKey);
  const signer = softwareSigner(pkcs8);
  pkcs8.fill(0);
  if (!equalBytes(signer.publicKey, publicKey))
    throw new CarnetError('key_unseal_failed', `the sealed key of authority ${id} is not its public key's`);
  return signer;
}
