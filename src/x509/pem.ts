import { CarnetError } from '../errors.ts';

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PRIVATE KEY' | 'PUBLIC KEY' | 'X509 CRL';

/** A hundred certificates and more; a trust bundle is the largest PEM that we read. */
const MAX_PEM_CHARACTERS = 1 << 20;
const LINE = 64;

/** One PEM block in the strict form of RFC 7468 §3, ending in a line feed. */
export function encodePem(label: PemLabel, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
  let text = `-----BEGIN ${label}-----\n`;
  for (let at = 0; at < base64.length; at += LINE) text += `${base64.slice(at, at + LINE)}\n`;
  return `${text}-----END ${label}-----\n`;
}

/**
 * The DER of every block in `text`, in order; all must carry this label, and only white space may stand between
 * them. Throws `der_malformed`.
 */
export function decodePem(label: PemLabel, text: string): Uint8Array[] {
  if (text.length > MAX_PEM_CHARACTERS)
    throw new CarnetError('der_malformed', `the PEM is longer than ${MAX_PEM_CHARACTERS} characters`);
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Uint8Array[] = [];
  for (let rest = text.trim(); rest !== ''; ) {
    const close = rest.indexOf(end);
    if (!rest.startsWith(begin) || close < 0)
      throw new CarnetError('der_malformed', `the PEM is not a sequence of ${label} blocks`);
    blocks.push(decodeBase64(rest.slice(begin.length, close)));
    rest = rest.slice(close + end.length).trimStart();
  }
  return blocks;
}

function decodeBase64(body: string): Uint8Array {
  const base64 = body.replace(/[\r\n\t ]/g, '');
  const der = Buffer.from(base64, 'base64');
  if (der.length === 0 || der.toString('base64') !== base64)
    throw new CarnetError('der_malformed', 'the PEM has a block that is empty or not base64');
  return der;
}
