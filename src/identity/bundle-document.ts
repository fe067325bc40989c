import { createPublicKey, type JsonWebKey, X509Certificate } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { signingAlgorithmOf } from './jws-algorithm.ts';
import type { JwtAuthority, TrustBundle } from './trust-bundle.ts';

/** A JWK Set as SPIFFE Trust Domain and Bundle §4 has it. */
export interface BundleDocument {
  readonly spiffe_sequence: number;
  readonly spiffe_refresh_hint: number;
  readonly keys: readonly JsonWebKey[];
}

/** A JWK Set (RFC 7517 §5). */
export interface JwkSet {
  readonly keys: readonly JsonWebKey[];
}

/** What a foreign trust domain published. Its name is not in the document: record it beside (§3). */
export interface ParsedBundle {
  /** Whole and exact, however large (§4.1.1); null where the publisher left it out. */
  readonly sequence: bigint | null;
  readonly refreshHintSeconds: number | null;
  /** DER, in the document's order, without repeats; may be empty: then nothing of that domain is to be trusted (§4.1.3). */
  readonly x509Authorities: readonly Uint8Array[];
  /** In the document's order; of two with one ID the first. Empty: that domain has no JWT-SVIDs (JWT-SVID §6.2). */
  readonly jwtAuthorities: readonly JwtAuthority[];
}

const X509_USE = 'x509-svid';
const JWT_USE = 'jwt-svid';
/** Ours. */
const MAX_KEY_ID_LENGTH = 1024;
/** Ours: a bundle holds a handful of roots, each of a few KiB. */
const MAX_DOCUMENT_BYTES = 1_048_576;
const MAX_KEYS = 256;
const KEY_TYPES = new Set(['EC', 'RSA', 'OKP']);
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The bundle as a document to publish, one JWK an authority (X509-SVID §6.1, JWT-SVID §6.1). `refreshHintSeconds` is a whole number. */
export function encodeBundle(bundle: TrustBundle, refreshHintSeconds: number): BundleDocument {
  return {
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: refreshHintSeconds,
    keys: [
      ...bundle.x509Authorities.map((der) => ({
        use: X509_USE,
        ...publicJwk(new X509Certificate(der)),
        x5c: [Buffer.from(der).toString('base64')],
      })),
      ...encodeJwtKeys(bundle).keys,
    ],
  };
}

/** The keys of JWT-SVIDs alone, as the Workload API hands them out (Workload API §6.2.2). */
export function encodeJwtKeys({ jwtAuthorities }: Pick<TrustBundle, 'jwtAuthorities'>): JwkSet {
  return { keys: jwtAuthorities.map((authority) => ({ use: JWT_USE, ...jwtJwk(authority) })) };
}

/** The same keys for verifiers that know OpenID Connect and not SPIFFE: `use` as RFC 7517 §4.2 has it, and `alg`. */
export function encodeOidcKeys({ jwtAuthorities }: Pick<TrustBundle, 'jwtAuthorities'>): JwkSet {
  return {
    keys: jwtAuthorities.map((authority) => ({
      use: 'sig',
      alg: signingAlgorithmOf(keyOf(authority)),
      ...jwtJwk(authority),
    })),
  };
}

function jwtJwk(authority: JwtAuthority): JsonWebKey {
  return { kid: authority.keyId, ...keyOf(authority).export({ format: 'jwk' }) };
}

function keyOf({ publicKey }: JwtAuthority) {
  return createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
}

/**
 * Reads a published bundle. Keys of unknown type or use, and X.509 ones without a certificate, are passed
 * over as the specifications say (§4.2, X509-SVID §6.2); anything else that is wrong refuses the whole, so
 * that a damaged document never passes for one that revokes. Throws `invalid_argument`.
 */
export function parseBundle(text: string): ParsedBundle {
  if (Buffer.byteLength(text) > MAX_DOCUMENT_BYTES)
    throw invalid(`it is longer than ${MAX_DOCUMENT_BYTES} bytes`);
  const document = parseJson(text);
  if (!isObject(document)) throw invalid('it is not a JSON object');
  const { keys } = document;
  if (!Array.isArray(keys)) throw invalid('`keys` is missing or not an array');
  if (keys.length > MAX_KEYS) throw invalid(`it holds ${keys.length} keys, more than ${MAX_KEYS}`);
  const authorities = keys.flatMap((key, index) => x509Authority(key, `keys[${index}]`) ?? []);
  const jwtAuthorities = keys.flatMap((key, index) => jwtAuthority(key, `keys[${index}]`) ?? []);
  return {
    sequence: wholeNumber(document.spiffe_sequence, 'spiffe_sequence'),
    refreshHintSeconds: refreshHint(document.spiffe_refresh_hint),
    x509Authorities: [...new Map(authorities.map((der) => [der.toString('base64'), der])).values()],
    jwtAuthorities: [
      ...new Map(jwtAuthorities.toReversed().map((key) => [key.keyId, key])).values(),
    ].toReversed(),
  };
}

/** The DER of the JWK's certificate, or undefined where the specifications say to pass over it. */
function x509Authority(jwk: unknown, where: string): Buffer | undefined {
  if (!isObject(jwk)) throw invalid(`${where} is not an object`);
  const { kty, use, x5c } = jwk;
  if (use !== X509_USE || typeof kty !== 'string' || !KEY_TYPES.has(kty)) return undefined;
  if (x5c === undefined || (Array.isArray(x5c) && x5c.length === 0)) return undefined;
  const base64: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
  if (typeof base64 !== 'string' || !BASE64.test(base64))
    throw invalid(`${where}.x5c[0] is not base64 (RFC 7517 §4.7)`);
  const der = Buffer.from(base64, 'base64');
  const { certificate, publicKey } = parseCertificate(der, where);
  if (!certificate.raw.equals(der)) throw invalid(`${where}.x5c[0] has something after the certificate`);
  if (!certificate.ca) throw invalid(`${where} is not a CA certificate: ${certificate.subject}`);
  // RFC 7517 §4.7: the key in the certificate must be the key that the JWK's other members describe.
  for (const [member, value] of Object.entries(publicKey))
    if (jwk[member] !== value) throw invalid(`${where}.${member} is not that of its certificate's key`);
  return der;
}

/** The JWK's key, or undefined where the specifications say to pass over it. */
function jwtAuthority(jwk: unknown, where: string): JwtAuthority | undefined {
  if (!isObject(jwk)) throw invalid(`${where} is not an object`);
  const { kty, use, kid, crv, x, y, n, e } = jwk;
  if (use !== JWT_USE || typeof kty !== 'string' || !KEY_TYPES.has(kty)) return undefined;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_LENGTH)
    throw invalid(`${where}.kid is missing, empty or too long (JWT-SVID §6.1)`);
  try {
    // Of the members only those of a public key: what else is there says nothing.
    const key = createPublicKey({ key: { kty, crv, x, y, n, e } as JsonWebKey, format: 'jwk' });
    return { keyId: kid, publicKey: key.export({ format: 'der', type: 'spki' }) };
  } catch (cause) {
    throw invalid(`${where} is not a public key`, cause);
  }
}

function parseCertificate(
  der: Buffer,
  where: string,
): { certificate: X509Certificate; publicKey: JsonWebKey } {
  try {
    const certificate = new X509Certificate(der);
    return { certificate, publicKey: publicJwk(certificate) };
  } catch (cause) {
    throw invalid(`${where}.x5c[0] is not a certificate with a key that a JWK can hold`, cause);
  }
}

function publicJwk(certificate: X509Certificate): JsonWebKey {
  return certificate.publicKey.export({ format: 'jwk' });
}

/** JSON, with the sequence as a bigint where it is an integer: JSON's integers have no bounds, doubles do. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, (key, value, context?: { source?: string }) =>
      key === 'spiffe_sequence' && context?.source !== undefined && /^\d{1,40}$/.test(context.source)
        ? BigInt(context.source)
        : value,
    );
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
}

function wholeNumber(value: unknown, member: string): bigint | null {
  if (value === undefined) return null;
  if (typeof value !== 'bigint') throw invalid(`\`${member}\` is not a whole number`);
  return value;
}

function refreshHint(value: unknown): number | null {
  if (value === undefined) return null;
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw invalid('`spiffe_refresh_hint` is not a whole number of seconds');
  return value as number;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(why: string, cause?: unknown): CarnetError {
  return new CarnetError('invalid_argument', `not a SPIFFE bundle document: ${why}`, { cause });
}
