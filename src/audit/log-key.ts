import type { KeyStore } from '../ca/key-store.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { toHex } from '../x509/bytes.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import { type NoteKey, noteKeyOf } from './log/note.ts';
import type { StoredLogKey } from './log-store.ts';

/** The log's name, which its verifiers know it by: one for each trust domain (C2SP tlog-checkpoint, "Origin"). */
export function originOf(trustDomain: TrustDomain): string {
  return `${trustDomain}/log`;
}

/** Makes the key of a log that begins. Throws what `keys.generate` throws. */
export async function createLogKey(origin: string, keys: KeyStore): Promise<StoredLogKey> {
  const key = await keys.generate('ed25519');
  const { publicKey, algorithm: keyAlgorithm } = key.signer;
  const id = `log-${toHex(keyIdentifier(parsePublicKey(publicKey).octets).subarray(0, 4))}`;
  return { id, origin, keyAlgorithm, publicKey, ...(await key.keep(id)) };
}

/** What the key is to those who verify. */
export function verifierOf({ origin, publicKey }: StoredLogKey): NoteKey {
  return noteKeyOf(origin, publicKey);
}
