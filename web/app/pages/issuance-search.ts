/** What the search box takes, and as what. Every name is a filter of `GET /v1/issuances`, and of the page's URL. */
export const FILTERS = {
  identity: 'Identity, exactly',
  identity_prefix: 'Identity, beginning',
  serial: 'Serial',
  fingerprint: 'Fingerprint',
  instance: 'Instance',
  node: 'Node',
  entry: 'Entry (rule)',
  requester: 'Requester',
  profile: 'Profile',
  authority: 'Authority',
  revoked: 'Revoked',
  valid_at: 'Valid at',
  from: 'Recorded from',
  to: 'Recorded before',
} as const;
export type Filter = keyof typeof FILTERS;
export type Filters = Readonly<Partial<Record<Filter, string>>>;

const INSTANCE = /^(?:container|process|pod|agent|server|kubernetes):/;

/**
 * What a person means by what they type: a serial, a fingerprint, an instance, or the beginning of an identity, of
 * which the trust domain may be left out. Undefined for nothing yet.
 */
export function meaningOf(typed: string): { filter: Filter; value: string } | undefined {
  const text = typed.trim();
  if (text === '') return undefined;
  const hex = text.replaceAll(/[:\s]/g, '').toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return { filter: 'fingerprint', value: hex };
  if (/^[0-9a-f]{30,32}$/.test(hex)) return { filter: 'serial', value: hex };
  if (INSTANCE.test(text)) return { filter: 'instance', value: text };
  if (text.startsWith('spiffe://') || text.startsWith('/')) return { filter: 'identity_prefix', value: text };
  return { filter: 'identity_prefix', value: `/${text}` };
}

/** The query that the server is asked, of the page's own: `q` is what was typed. */
export function askedOf(query: URLSearchParams): Filters {
  const asked: Partial<Record<Filter, string>> = {};
  for (const filter of Object.keys(FILTERS) as Filter[]) {
    const value = query.get(filter)?.trim();
    if (value) asked[filter] = isTime(filter) ? timeOf(value) : value;
  }
  const meaning = meaningOf(query.get('q') ?? '');
  return meaning === undefined ? asked : { ...asked, [meaning.filter]: meaning.value };
}

function isTime(filter: Filter): boolean {
  return filter === 'from' || filter === 'to' || filter === 'valid_at';
}

/** A time as its input has it, which is meant as UTC, as all times here: `2026-03-01T12:30`. */
export function timeOf(value: string): string {
  const time = new Date(/(?:Z|[+-]\d\d:\d\d)$/.test(value) ? value : `${value}Z`);
  return Number.isNaN(time.getTime()) ? value : time.toISOString();
}
