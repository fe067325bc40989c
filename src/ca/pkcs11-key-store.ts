import { hash, randomBytes } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { sequence, unsignedInteger } from '../x509/der-writer.ts';
import { type PublicKey, parsePublicKey } from '../x509/public-key.ts';
import { signatureAlgorithmFor, verifySignature } from '../x509/signature-algorithm.ts';
import type { KeyStore, NewKey, StoredKey } from './key-store.ts';
import type { Handle } from './pkcs11-module.ts';
import {
  destroyObjects,
  findKey,
  findPrivateKey,
  generateKeyPair,
  isEc,
  type Pkcs11Session,
  readPublicKey,
  relabel,
  signInToken,
} from './pkcs11-session.ts';
import { Pkcs11Token, type TokenOptions } from './pkcs11-token.ts';
import { encodeKeyUri, type KeyPlace, parseKeyUri } from './pkcs11-uri.ts';
import { signingKeyElsewhere } from './provider.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';

const ID_BYTES = 16;
/** Of a key that is no authority's: it was being made when the process or the token went away. */
const NEW_KEY_LABEL = 'carnet new key';

/**
 * Keys in a hardware module (PKCS#11): made in it, used in it, and never out of it. Throws `config_invalid` for
 * a module that cannot be loaded; whether the token is there shows when it is first used.
 */
export function pkcs11KeyStore(options: TokenOptions): KeyStore {
  const token = new Pkcs11Token(options);
  return {
    generate: (algorithm) => generate(token, algorithm),
    open: (stored) => openKey(token, stored),
    destroy: async ({ keyReference }) => {
      if (keyReference === null) return;
      const place = parseKeyUri(keyReference);
      await token.use(async (session) => {
        checkToken(session, place);
        session.found.delete(keyReference);
        await destroyObjects(session, await findKey(session, place.id, place.object));
      });
    },
    get problem() {
      return token.problem;
    },
    close: () => token.close(),
  };
}

async function generate(token: Pkcs11Token, algorithm: KeyAlgorithm): Promise<NewKey> {
  const id = randomBytes(ID_BYTES);
  const { spki, place } = await token.use(async (session) => {
    // Left from an attempt that the token's loss cut short.
    await destroyObjects(session, await findKey(session, id, NEW_KEY_LABEL));
    const { publicKey } = await generateKeyPair(session, algorithm, id, NEW_KEY_LABEL);
    const spki = await readPublicKey(session, publicKey, algorithm);
    return { spki, place: { token: session.tokenLabel, object: NEW_KEY_LABEL, id } };
  });
  const publicKey = parsePublicKey(spki);
  let kept: KeyPlace = place;
  return {
    signer: tokenSigner(token, algorithm, publicKey, () => kept),
    keep: async (authorityId) => {
      await token.use(async (session) =>
        relabel(session, await findKey(session, id, kept.object), authorityId),
      );
      kept = { ...place, object: authorityId };
      return { sealedKey: null, keyReference: encodeKeyUri(kept) };
    },
    discard: () =>
      token.use(async (session) => destroyObjects(session, await findKey(session, id, kept.object))),
  };
}

function openKey(token: Pkcs11Token, { id, keyAlgorithm, publicKey, keyReference }: StoredKey): Signer {
  if (keyReference === null)
    throw new CarnetError('authority_unavailable', `the key of authority ${id} is destroyed, or is not ours`);
  const place = parseKeyUri(keyReference);
  return tokenSigner(token, keyAlgorithm, parsePublicKey(publicKey), () => place);
}

/** Signs by the key at `placeOf()`, whose first signature in each session must be by `publicKey`. */
function tokenSigner(
  token: Pkcs11Token,
  algorithm: KeyAlgorithm,
  publicKey: PublicKey,
  placeOf: () => KeyPlace,
): Signer {
  const signatureAlgorithm = signatureAlgorithmFor(publicKey.kind);
  const signRaw = (data: Uint8Array): Promise<Uint8Array> => {
    const input = isEc(algorithm) ? hash(signatureAlgorithm.digest ?? '', data, 'buffer') : data;
    return token.use(async (session) => {
      const place = placeOf();
      const uri = encodeKeyUri(place);
      const known = session.found.get(uri);
      const key = known ?? (await findChecked(session, place));
      const signature = await signInToken(session, key, algorithm, input);
      if (known !== undefined) return signature;
      const encoded = encodeSignature(algorithm, signature);
      if (!(await verifySignature(signatureAlgorithm, publicKey, data, encoded)))
        throw new CarnetError('key_unseal_failed', `the key at ${uri} is not its authority's`);
      session.found.set(uri, key);
      return signature;
    });
  };
  return {
    algorithm,
    publicKey: publicKey.spki,
    signatureAlgorithm: signatureAlgorithm.der,
    sign: async (tbs) => encodeSignature(algorithm, await signRaw(tbs)),
    cryptoKey: async () => signingKeyElsewhere(algorithm, signRaw),
  };
}

async function findChecked(session: Pkcs11Session, place: KeyPlace): Promise<Handle> {
  checkToken(session, place);
  return findPrivateKey(session, place.id, place.object);
}

function checkToken({ tokenLabel }: Pkcs11Session, { token, object }: KeyPlace): void {
  if (token !== tokenLabel)
    throw new CarnetError(
      'authority_unavailable',
      `the key of ${object} is in token ${JSON.stringify(token)}, but ${JSON.stringify(tokenLabel)} is given`,
    );
}

/** ECDSA-Sig-Value (RFC 3279 §2.2.3) of r and s, which the token and WebCrypto put side by side; RSA as it is. */
function encodeSignature(algorithm: KeyAlgorithm, signature: Uint8Array): Uint8Array {
  if (!isEc(algorithm)) return signature;
  const half = signature.length / 2;
  return sequence(unsignedInteger(signature.subarray(0, half)), unsignedInteger(signature.subarray(half)));
}
