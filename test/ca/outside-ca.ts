// Loads reflect-metadata, which @peculiar/x509 needs first.
import '../../src/ca/provider.ts';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { toHex } from '../../src/x509/bytes.ts';
import { OID } from '../../src/x509/oid.ts';
import { keyIdentifier, parsePublicKey } from '../../src/x509/public-key.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
const ROOT_DAYS = 3_650;

export interface CertifyOptions {
  readonly notAfter?: Date;
  /** In place of, or beside, those of a CA. */
  readonly extensions?: readonly Extension[];
  readonly pathLength?: number;
}

/** A CA that is none of ours: an operator's offline root, or one below it. */
export interface OutsideCa {
  readonly certificate: Uint8Array;
  readonly spki: Uint8Array;
  /** A CA certificate for this key. DER. */
  certify(spki: Uint8Array, options?: CertifyOptions): Promise<Uint8Array>;
  subordinate(name: string, options?: CertifyOptions): Promise<OutsideCa>;
}

/** A root that gives the issuing CAs it certifies this URI name. */
export async function outsideRoot(uri: string): Promise<OutsideCa> {
  const keys = await generate();
  const spki = new Uint8Array(await webcrypto.subtle.exportKey('spki', keys.publicKey));
  return outsideCa(
    'CN=Offline root',
    uri,
    keys,
    await sign('CN=Offline root', 'CN=Offline root', keys, spki, {}),
  );
}

async function outsideCa(
  name: string,
  uri: string,
  keys: webcrypto.CryptoKeyPair,
  certificate: Uint8Array,
): Promise<OutsideCa> {
  const spki = new Uint8Array(await webcrypto.subtle.exportKey('spki', keys.publicKey));
  return {
    certificate,
    spki,
    certify: (subject, { extensions = [], ...options } = {}) => {
      const named = extensions.some(({ type }) => type === OID.subjectAltName) ? [] : [nameOf(uri)];
      return sign('CN=Carnet below', name, keys, subject, {
        ...options,
        extensions: [...named, ...extensions],
      });
    },
    subordinate: async (subordinate, options = {}) => {
      const own = await generate();
      const ownSpki = new Uint8Array(await webcrypto.subtle.exportKey('spki', own.publicKey));
      const ownName = `CN=${subordinate}`;
      return outsideCa(ownName, uri, own, await sign(ownName, name, keys, ownSpki, options));
    },
  };
}

function nameOf(uri: string): Extension {
  return new SubjectAlternativeNameExtension([{ type: 'url', value: uri }]);
}

function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function sign(
  subject: string,
  issuer: string,
  by: webcrypto.CryptoKeyPair,
  spki: Uint8Array,
  { notAfter, extensions = [], pathLength }: CertifyOptions,
): Promise<Uint8Array> {
  const own = [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    new SubjectKeyIdentifierExtension(toHex(keyIdentifier(parsePublicKey(spki).octets))),
  ].filter(({ type }) => !extensions.some((other) => other.type === type));
  const certificate = await X509CertificateGenerator.create(
    {
      subject,
      issuer,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: notAfter ?? new Date(Date.now() + ROOT_DAYS * DAY_MS - (Date.now() % DAY_MS)),
      publicKey: spki,
      signingKey: by.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [...own, ...extensions],
    },
    webcrypto,
  );
  return new Uint8Array(certificate.rawData);
}
