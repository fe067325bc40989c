import { X509Certificate } from 'node:crypto';
import { z } from 'zod';

/** What a certificate says, read back from its own bytes rather than from the columns beside them. */
export const DecodedCertificate = z
  .strictObject({
    subject: z.string(),
    issuer: z.string(),
    subject_alt_names: z.array(z.string()).meta({ description: '`URI:…` and `DNS:…`' }),
    ca: z.boolean(),
    extended_key_usage: z.array(z.string()).meta({ description: 'OIDs' }),
    public_key: z.string().meta({ examples: ['ec prime256v1', 'rsa 2048', 'ed25519'] }),
  })
  .meta({ id: 'DecodedCertificate' });

export function decodeCertificate(der: Uint8Array): z.input<typeof DecodedCertificate> {
  const certificate = new X509Certificate(der);
  return {
    // One attribute a line in Node's text; a comma keeps it on one.
    subject: (certificate.subject ?? '').replaceAll('\n', ', '),
    issuer: (certificate.issuer ?? '').replaceAll('\n', ', '),
    subject_alt_names: certificate.subjectAltName?.split(', ') ?? [],
    ca: certificate.ca,
    extended_key_usage: certificate.keyUsage ?? [],
    public_key: publicKeyText(certificate),
  };
}

/** What a JWT-SVID says. Its signature is nowhere on record. */
export const DecodedToken = z
  .strictObject({
    header: z.record(z.string(), z.unknown()),
    claims: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'DecodedToken' });

/** Of the signing input (RFC 7515 §5.1) that history has of a token. */
export function decodeToken(signingInput: Uint8Array): z.input<typeof DecodedToken> {
  const [header, claims] = Buffer.from(signingInput)
    .toString('latin1')
    .split('.')
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  return { header, claims };
}

export function pemOf(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${lines?.join('\n')}\n-----END CERTIFICATE-----\n`;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function publicKeyText({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  return [publicKey.asymmetricKeyType, namedCurve ?? modulusLength].filter((part) => part != null).join(' ');
}
