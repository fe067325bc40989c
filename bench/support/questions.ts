import { explainIssuance } from '../../src/audit/explanation.ts';
import type { OperatorEventFilter } from '../../src/audit/operator-event.ts';
import type { IssuanceFilter } from '../../src/audit/query.ts';
import type { ReportRequest } from '../../src/audit/report.ts';
import type { Database, Queryable } from '../../src/db/database.ts';
import { PostgresExplanationSource } from '../../src/db/explanation-source.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { PostgresReports } from '../../src/db/reports.ts';

const PAGE = 100;
const DAY = 86_400_000;
const SPAN_DAYS = 719;

/** One question of an auditor, as the API asks the database. */
export interface Question {
  readonly name: string;
  /** A sum over a time, for people: it reads what it counts, and is not held to the aim of a page. */
  readonly sums?: boolean;
  /** With values that occur, others each time. */
  readonly prepare: () => Promise<(database: Queryable) => Promise<unknown>>;
}

type Filter = () => IssuanceFilter | Promise<IssuanceFilter>;

/** Every filter, for values that are common and rare, what is asked of them together, and pages further back. */
export function searches(database: Database): Question[] {
  const some = someOf(database);
  const service = (number: number): string =>
    `spiffe://carnet.local/ns/team-${Math.floor(number / 100)}/service-${number}`;
  const rare = (): number => 4900 + Math.floor(Math.random() * 100);
  const filters: Record<string, Filter> = {
    'no filter': () => ({}),
    'identity, any': async () => ({ identity: await some('identity') }),
    'identity, common': () => ({ identity: service(Math.floor(Math.random() * 3)) }),
    'identity, rare': () => ({ identity: service(rare()) }),
    'identity, not there': () => ({ identity: 'spiffe://carnet.local/none' }),
    'prefix of nearly all': () => ({ identityPrefix: 'spiffe://carnet.local/ns/' }),
    'prefix, common': () => ({ identityPrefix: 'spiffe://carnet.local/ns/team-0/' }),
    'prefix, of one in 50': () => ({
      identityPrefix: `spiffe://carnet.local/ns/team-${oneOf('8', '9', '10')}/`,
    }),
    'prefix, of one in 150': () => ({
      identityPrefix: `spiffe://carnet.local/ns/team-${oneOf('45', '49')}/`,
    }),
    'prefix, of one in 1,500': () => ({ identityPrefix: service(rare()).slice(0, -1) }),
    'prefix, each identity once': () => ({
      identityPrefix: `spiffe://carnet.local/pods/${oneOf('0', '7a', 'f')}`,
    }),
    'prefix, not there': () => ({ identityPrefix: 'spiffe://carnet.local/payments/' }),
    'prefix, in a month': () => ({ identityPrefix: 'spiffe://carnet.local/ns/team-30/', ...window(30) }),
    instance: async () => ({ instance: await some('instance') }),
    serial: async () => ({ serial: await some("encode(serial, 'hex')") }),
    'fingerprint of a certificate': async () => ({
      fingerprint: await some("encode(certificate_sha256, 'hex')"),
    }),
    'fingerprint of a key': async () => ({
      fingerprint: await some("encode(public_key_sha256, 'hex')", "profile = 'x509-svid'"),
    }),
    'fingerprint of a key that signs tokens': async () => ({
      fingerprint: await some("encode(public_key_sha256, 'hex')", "profile = 'jwt-svid'"),
    }),
    'node, any': async () => ({ node: await some('node') }),
    'node, common: all it ever obtained': () => ({ node: 'node-0' }),
    'node, rare': () => ({ node: `node-${990 + Math.floor(Math.random() * 10)}` }),
    authority: async () => ({ authority: await some('authority_id') }),
    'rule, any': async () => ({ entry: await some('entry_id') }),
    'rule, common': () => ({ entry: 'entry-0' }),
    'rule and its version': () => ({ entry: 'entry-0', entryVersion: 1 + Math.floor(Math.random() * 3) }),
    'requester, an agent': async () => ({ requester: `agent:${await some('node')}` }),
    'requester, another': async () => ({
      requester: await some("coalesce(requester, '')", "requester LIKE 'kubernetes:%'"),
    }),
    'profile, common': () => ({ profile: 'x509-svid' }),
    'profile, of one in 20': () => ({ profile: 'jwt-svid' }),
    'profile, rare': () => ({ profile: 'issuing-ca' }),
    'valid at a time': () => ({ validAt: daysAgo() }),
    'valid now': () => ({ validAt: new Date() }),
    'who held a common identity at a time': () => ({ identity: service(0), validAt: daysAgo() }),
    'who held a rare identity at a time': () => ({ identity: service(rare()), validAt: daysAgo() }),
    'valid at a time, with a prefix': () => ({
      identityPrefix: service(4950).slice(0, -2),
      validAt: daysAgo(),
    }),
    revoked: () => ({ revoked: true }),
    'not revoked': () => ({ revoked: false }),
    'revoked, of a common identity': () => ({ revoked: true, identity: service(0) }),
    'revoked, of a rare identity': () => ({ revoked: true, identity: service(rare()) }),
    'from and to: an hour': () => window(1 / 24),
    'from and to: a month': () => window(30),
    'identity, from, to': () => ({ identity: service(0), ...window(30) }),
    'common identity, common node': () => ({ identity: service(0), node: 'node-0' }),
    'common identity, rare node': () => ({ identity: service(0), node: 'node-995' }),
    'rare identity, common node': () => ({ identity: service(rare()), node: 'node-0' }),
    'common node, prefix': () => ({ node: 'node-0', identityPrefix: 'spiffe://carnet.local/ns/team-49/' }),
    'common identity, its rule': () => ({ identity: service(0), entry: 'entry-0' }),
    'common identity, rare profile': () => ({ identity: service(0), profile: 'issuing-ca' }),
  };
  const deep = [
    'no filter',
    'identity, common',
    'node, common: all it ever obtained',
    'prefix, common',
    'prefix, of one in 150',
  ];
  return [
    ...Object.entries(filters).map(([name, filter]) => search(name, filter)),
    ...deep.map((name) => searchDeep(`${name}, a page from the middle`, filters[name] as Filter)),
  ];
}

/** What a statement takes that does nothing: less no question takes, on this machine as busy as it is. */
export const NOTHING: Question = {
  name: 'a statement that asks nothing',
  prepare: async () => (on) => on.query('SELECT 1'),
};

/** Why one was issued, and how much was. */
export function explanations(database: Database): Question[] {
  const some = someOf(database);
  const day = (ago: number): Date => new Date(Math.floor(Date.now() / DAY - ago) * DAY);
  const report = (name: string, fields: Partial<ReportRequest> & Pick<ReportRequest, 'by'>): Question => ({
    name,
    sums: true,
    prepare: async () => (on) =>
      new PostgresReports(on).report({ from: day(30), to: day(-1), entry: null, limit: 1000, ...fields }),
  });
  const granted = (name: string, entry: string, after: () => string | null): Question => ({
    name,
    prepare: async () => {
      const from = after();
      return (on) => new PostgresReports(on).granted(entry, from, PAGE);
    },
  });
  const asked = (name: string, ask: (on: Queryable, value: string) => Promise<unknown>): Question => ({
    name,
    prepare: async () => {
      const serial = await some("encode(serial, 'hex')", "entry_id LIKE 'entry-%'");
      return (on) => ask(on, serial);
    },
  });
  return [
    asked('one, whole, by serial', (on, serial) => new PostgresIssuanceQuery(on).get(serial)),
    asked('why one was issued, among 5,000 rules', (on, serial) =>
      explainIssuance(new PostgresExplanationSource(on, new PostgresIssuanceQuery(on)), serial),
    ),
    granted('every identity that a rule ever granted: one', 'entry-7', () => null),
    granted('every identity that a rule ever granted: one a pod', 'pods', () => null),
    granted(
      'the same, a page from the middle',
      'pods',
      () => `spiffe://carnet.local/pods/${oneOf('3', '8', 'c')}`,
    ),
    report('what a rule granted, one identity a pod', { by: 'identity', entry: 'pods', from: null }),
    report('a month by identity', { by: 'identity' }),
    report('a month by node', { by: 'node' }),
    report('a month by rule', { by: 'entry' }),
    report('a month by day', { by: 'day' }),
    report('a month by hour', { by: 'hour', limit: 10_000 }),
    report('a month by profile', { by: 'profile' }),
    report('a year by node', { by: 'node', from: day(365) }),
    report('a year by identity', { by: 'identity', from: day(365) }),
    {
      name: 'leaves by the hour of their end',
      prepare: async () => (on) => new PostgresReports(on).expiries(48),
    },
  ];
}

export function events(): Question[] {
  const event = (
    name: string,
    filter: () => OperatorEventFilter | Promise<OperatorEventFilter>,
  ): Question => ({
    name,
    prepare: async () => {
      const given = await filter();
      return (on) => listEvents(on, { limit: PAGE, cursor: null }, given);
    },
  });
  const actor = (): string => `operator:${Math.floor(50 * Math.random())}`;
  return [
    event('events, all', () => ({})),
    event('events of an operator', () => ({ actor: actor() })),
    event('events of a noun, common', () => ({ action: 'token.' })),
    event('events of an action', () => ({ action: 'entry.create' })),
    event('events of an operator and a noun', () => ({ actor: actor(), action: 'entry.' })),
    event('events of a subject', () => ({ subject: `entry-${Math.floor(Math.random() * 5000)}` })),
    event('events in a day', () => window(1)),
  ];
}

function search(name: string, filter: Filter): Question {
  return {
    name,
    prepare: async () => {
      const given = await filter();
      return (on) => new PostgresIssuanceQuery(on).search(given, { limit: PAGE, cursor: null });
    },
  };
}

/** By a cursor some pages on, as one who leafs through has it. */
function searchDeep(name: string, filter: Filter): Question {
  let pages: { filter: IssuanceFilter; cursor: string | null } | undefined;
  return {
    name,
    prepare: async () => (on) => {
      const query = new PostgresIssuanceQuery(on);
      return pages === undefined
        ? (async () => {
            const given = await filter();
            const { nextCursor } = await query.search(given, { limit: 1000, cursor: null });
            pages = { filter: given, cursor: nextCursor };
          })()
        : query.search(pages.filter, { limit: PAGE, cursor: pages.cursor });
    },
  };
}

function oneOf(...given: string[]): string {
  return given[Math.floor(Math.random() * given.length)] ?? '';
}

/** A value of a column, by how often it occurs. */
function someOf(database: Database): (column: string, where?: string) => Promise<string> {
  return async (column, where = 'true') => {
    const [row] = await database.query<{ value: string }>(
      `SELECT ${column} AS value FROM issuance WHERE recorded_at >= $1 AND ${where} ORDER BY recorded_at, id LIMIT 1`,
      [daysAgo()],
    );
    return row?.value ?? '';
  };
}

/** Never so short that nothing was recorded since. */
function daysAgo(): Date {
  return new Date(Date.now() - (1 + Math.random() * SPAN_DAYS) * DAY);
}

function window(days: number): { from: Date; to: Date } {
  const from = daysAgo();
  return { from, to: new Date(from.getTime() + days * DAY) };
}
