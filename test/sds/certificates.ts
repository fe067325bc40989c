import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { X509Svid } from '../../src/delivery/holdings.ts';
import { parseTrustDomain, spiffeIdOf } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const TRUST_DOMAIN = parseTrustDomain('carnet.local');
const DAY_MS = 86_400_000;

/** A root that signs leaves for tests: real certificates, made apart from our own code. */
export interface TestAuthority {
  readonly certificate: x509.X509Certificate;
  bundle(sequence: number): TrustBundle;
  issue(path: string): Promise<X509Svid>;
}

export async function createAuthority(): Promise<TestAuthority> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=Test root',
      keys,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    },
    webcrypto,
  );
  return {
    certificate,
    bundle: (sequence) => ({
      trustDomain: TRUST_DOMAIN,
      sequence,
      x509Sequence: sequence,
      crls: [],
      jwtAuthorities: [],
      x509Authorities: [new Uint8Array(certificate.rawData)],
    }),
    issue: (path) => issue(certificate, keys, path),
  };
}

async function issue(
  issuer: x509.X509Certificate,
  issuerKeys: webcrypto.CryptoKeyPair,
  path: string,
): Promise<X509Svid> {
  const keys = await generateKeys();
  const identity = spiffeIdOf(TRUST_DOMAIN, path);
  // A leading byte below 0x80 and not 0 keeps the serial positive and of one length.
  const serial = `1${randomBytes(16).toString('hex').slice(1)}`;
  const notBefore = new Date(Date.now() - DAY_MS);
  const notAfter = new Date(Date.now() + DAY_MS);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial,
      subject: '',
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: issuerKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore,
      notAfter,
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identity }], true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
      ],
    },
    webcrypto,
  );
  return {
    identity,
    serial,
    chain: [new Uint8Array(certificate.rawData)],
    privateKey: new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)),
    notBefore,
    notAfter,
    entryId: 'test',
    authority: 'test',
  };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}
