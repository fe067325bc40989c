import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { equalBytes, fromBase64, sha256, toHex } from './bytes.ts';
import type { LoggedIssuance } from './entry.ts';

/** The names of what the record says otherwise than the log's entry: none for a record that is the entry's. */
export async function differences(record: IssuanceDetailsBody, logged: LoggedIssuance): Promise<string[]> {
  const differ: string[] = [];
  for (const [name, value] of logged.fields)
    if (!isSame(value, record[name as keyof IssuanceDetailsBody])) differ.push(name);
  const { certificate } = logged;
  if (record.certificate === null) {
    if (!isTokenOf(record.token, certificate)) differ.push('token');
    return differ;
  }
  const der = fromBase64(record.certificate.replaceAll(/-----[A-Z ]+-----|\s/g, ''));
  if (der === null || !equalBytes(der, certificate)) differ.push('certificate');
  if (toHex(await sha256(certificate)) !== record.certificate_sha256) differ.push('certificate_sha256');
  return [...new Set(differ)];
}

/** Times in the log are microseconds since 1970, in the record RFC 3339 with up to six decimals. */
function isSame(logged: unknown, shown: unknown): boolean {
  if (typeof logged === 'bigint') return typeof shown === 'string' && microsOf(shown) === logged;
  return canonical(logged) === canonical(shown);
}

function microsOf(shown: string): bigint | null {
  const [, seconds = '', decimals = ''] = /^(.+?)(?:\.(\d{1,6}))?Z$/.exec(shown) ?? [];
  const millis = Date.parse(`${seconds}Z`);
  return Number.isNaN(millis) ? null : BigInt(millis) * 1000n + BigInt(decimals.padEnd(6, '0'));
}

/** A JWT-SVID is on record by its signing input (RFC 7515 §5.1), which says what the record's token says. */
function isTokenOf(token: IssuanceDetailsBody['token'], signingInput: Uint8Array): boolean {
  const parts = new TextDecoder().decode(signingInput).split('.');
  const [header, claims] = parts.map((part) => {
    const bytes = fromBase64(padded(part.replaceAll('-', '+').replaceAll('_', '/')));
    return bytes === null ? null : (JSON.parse(new TextDecoder().decode(bytes)) as unknown);
  });
  return parts.length === 2 && canonical({ header, claims }) === canonical(token);
}

function padded(base64: string): string {
  return base64.padEnd(Math.ceil(base64.length / 4) * 4, '=');
}

/** One text for all JSON that says the same: the order of names in an object says nothing. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}
