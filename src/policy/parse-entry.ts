import { formatDuration, parseDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';
import { parseSelector } from '../identity/selector.ts';
import { parseTrustDomain, type TrustDomain } from '../identity/spiffe-id.ts';
import { dnsNameFault } from './dns-name.ts';
import type { EntryInput } from './entry-store.ts';
import { parseIdTemplate } from './id-template.ts';
import { selectorFault } from './selector-fault.ts';

const FIELDS = ['id', 'spiffe_id', 'selectors', 'dns_names', 'ttl', 'hint', 'federates_with'] as const;
const ID = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/;
/** Ours. A caller shows some tens of selectors; a leaf with more names than this is a mistake. */
const MAX_SELECTORS = 32;
const MAX_DNS_NAMES = 32;
const MAX_FEDERATES_WITH = 32;
/** Ours: below, renewals at half of the life would hardly end; above, a leaf isn't short-lived. */
const MIN_TTL_SECONDS = 5;
const MAX_TTL_SECONDS = 30 * 86_400;
/** Ours: a word or two, for a program to choose by (Workload API §5.1). */
const MAX_HINT_BYTES = 256;
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Parses the outside form of an entry, `{id?, spiffe_id, selectors, dns_names?, ttl?, hint?, federates_with?}`,
 * for a trust domain. Selectors and trust domains come out sorted, DNS names in lower case and in their order, all
 * without repeats. Throws `entry_invalid`, naming the field and its value.
 */
export function parseEntry(input: unknown, domain: TrustDomain): EntryInput {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw invalid(`an entry must be an object with the fields ${FIELDS.join(', ')}`);
  for (const field of Object.keys(input))
    if (!(FIELDS as readonly string[]).includes(field))
      throw invalid(`an entry has no field ${quoted(field)}; its fields are ${FIELDS.join(', ')}`);
  const fields: { readonly [field in (typeof FIELDS)[number]]?: unknown } = input;
  return {
    id: fields.id === undefined ? null : parseId(fields.id),
    spiffeId: parseIdTemplate(textOf(fields.spiffe_id, 'spiffe_id'), domain),
    selectors: parseSelectors(fields.selectors),
    dnsNames: fields.dns_names === undefined ? [] : parseDnsNames(fields.dns_names),
    ttlSeconds: fields.ttl === undefined ? null : parseTtl(fields.ttl),
    hint: fields.hint === undefined ? null : parseHint(fields.hint),
    federatesWith:
      fields.federates_with === undefined ? [] : parseFederatesWith(fields.federates_with, domain),
  };
}

function parseId(value: unknown): string {
  const id = textOf(value, 'id');
  if (!ID.test(id))
    throw invalid(
      `id ${quoted(id)}: it must begin with a letter or digit, and hold letters, digits, dots, dashes and underscores only, at most 128`,
    );
  return id;
}

function parseSelectors(value: unknown): EntryInput['selectors'] {
  const texts = listOf(value, 'selectors', MAX_SELECTORS);
  if (texts.length === 0)
    throw invalid('selectors is empty: an entry without selectors would match every caller');
  const selectors = texts.map((text, i) => within(`selectors[${i}]`, () => parseSelector(text)));
  selectors.forEach((selector, i) => {
    const fault = selectorFault(selector);
    if (fault !== undefined) throw invalid(`selectors[${i}] ${quoted(selector)}: ${fault}`);
  });
  return [...new Set(selectors)].sort();
}

function parseDnsNames(value: unknown): string[] {
  // ASCII only: toLowerCase() would turn the Kelvin sign into a k.
  const names = listOf(value, 'dns_names', MAX_DNS_NAMES).map((text) =>
    text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  );
  names.forEach((name, i) => {
    const fault = dnsNameFault(name);
    if (fault !== undefined) throw invalid(`dns_names[${i}] ${quoted(name)}: ${fault}`);
  });
  return [...new Set(names)];
}

function parseFederatesWith(value: unknown, own: TrustDomain): TrustDomain[] {
  const domains = listOf(value, 'federates_with', MAX_FEDERATES_WITH).map((text, i) =>
    within(`federates_with[${i}]`, () => parseTrustDomain(text)),
  );
  if (domains.includes(own))
    throw invalid(`federates_with: ${own} is our own trust domain, whose bundle every holder gets`);
  return [...new Set(domains)].sort();
}

function parseTtl(value: unknown): number {
  const text = textOf(value, 'ttl');
  const seconds = within('ttl', () => parseDuration(text));
  if (seconds < MIN_TTL_SECONDS || seconds > MAX_TTL_SECONDS)
    throw invalid(
      `ttl ${quoted(text)}: it must be from ${formatDuration(MIN_TTL_SECONDS)} to ${formatDuration(MAX_TTL_SECONDS)}`,
    );
  return seconds;
}

function parseHint(value: unknown): string {
  const hint = textOf(value, 'hint');
  if (hint === '' || Buffer.byteLength(hint) > MAX_HINT_BYTES || UNPRINTABLE.test(hint))
    throw invalid(`hint ${quoted(hint)}: it must have 1 to ${MAX_HINT_BYTES} bytes of printable text`);
  return hint;
}

function textOf(value: unknown, field: string): string {
  if (value === undefined) throw invalid(`${field} is missing`);
  if (typeof value !== 'string') throw invalid(`${field} ${quoted(value)}: it must be text`);
  return value;
}

function listOf(value: unknown, field: string, max: number): string[] {
  if (value === undefined) throw invalid(`${field} is missing`);
  if (!Array.isArray(value)) throw invalid(`${field} ${quoted(value)}: it must be a list of texts`);
  if (value.length > max) throw invalid(`${field} has ${value.length} items, more than ${max}`);
  return value.map((item, i) => textOf(item, `${field}[${i}]`));
}

/** Says of which field an error is. */
function within<T>(field: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (!(cause instanceof CarnetError)) throw cause;
    throw invalid(`${field}: ${cause.message}`, cause);
  }
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

function invalid(message: string, cause?: unknown): CarnetError {
  return new CarnetError('entry_invalid', message, { cause });
}
