import type { NewSession, Session, SessionStore } from '../../src/api/session.ts';
import type { NewToken, Token, TokenStore } from '../../src/api/token.ts';
import type { EntryVersion, ExplanationSource, RulesThen } from '../../src/audit/explanation.ts';
import type {
  OperatorEventFilter,
  OperatorEventPage,
  OperatorEventQuery,
  RecordedOperatorEvent,
} from '../../src/audit/operator-event.ts';
import type { IssuanceDetail, IssuanceFilter, IssuancePage, IssuanceQuery } from '../../src/audit/query.ts';
import type { Expiries, GrantedIdentity, Report, ReportRequest, Reports } from '../../src/audit/report.ts';
import { CarnetError } from '../../src/errors.ts';
import type { RegistrationEntry } from '../../src/policy/entry.ts';
import type { EntryChanges, EntryGuard, EntryInput, EntryStore } from '../../src/policy/entry-store.ts';

/** Stands for the database's connection: while down, every call fails as the real stores do. */
export class Outage {
  down = false;

  check(): void {
    if (this.down) throw new CarnetError('database_unavailable', 'Postgres does not answer');
  }
}

/** The event that a change leaves: who did what to which. */
export type Change = readonly [actor: string, action: string, subject: string];

export class MemoryEntries implements EntryStore {
  readonly entries = new Map<string, RegistrationEntry>();
  readonly changes: Change[] = [];
  readonly #outage: Outage;

  constructor(outage: Outage) {
    this.#outage = outage;
  }

  async list(): Promise<RegistrationEntry[]> {
    this.#outage.check();
    return [...this.entries.values()];
  }

  async create(input: EntryInput, actor: string, guard?: EntryGuard): Promise<RegistrationEntry> {
    this.#outage.check();
    guard?.(input);
    const id = input.id ?? `made-${this.entries.size + 1}`;
    if (this.entries.has(id)) throw new CarnetError('already_exists', `there is an entry ${id} already`);
    return this.#put({ ...input, id, version: 1 }, actor, 'entry.create');
  }

  async apply(inputs: readonly EntryInput[], actor: string, guard?: EntryGuard): Promise<EntryChanges> {
    this.#outage.check();
    const [created, updated]: RegistrationEntry[][] = [[], []];
    let unchanged = 0;
    for (const input of inputs) {
      if (input.id === null) throw new CarnetError('entry_invalid', 'an entry to apply needs an id');
      const before = this.entries.get(input.id);
      for (const entry of [before, input]) if (entry !== undefined) guard?.(entry);
      const next = { ...input, id: input.id, version: (before?.version ?? 0) + 1 };
      if (before === undefined) created?.push(this.#put(next, actor, 'entry.create'));
      else if (JSON.stringify({ ...before, version: 0 }) === JSON.stringify({ ...next, version: 0 }))
        unchanged++;
      else updated?.push(this.#put(next, actor, 'entry.update'));
    }
    return { created: created ?? [], updated: updated ?? [], unchanged };
  }

  async delete(id: string, actor: string, guard?: EntryGuard): Promise<RegistrationEntry> {
    this.#outage.check();
    const entry = this.entries.get(id);
    if (entry === undefined) throw new CarnetError('not_found', `there is no entry ${id}`);
    guard?.(entry);
    this.entries.delete(id);
    this.changes.push([actor, 'entry.delete', id]);
    return entry;
  }

  #put(entry: RegistrationEntry, actor: string, action: string): RegistrationEntry {
    this.entries.set(entry.id, entry);
    this.changes.push([actor, action, entry.id]);
    return entry;
  }
}

export class MemoryTokens implements TokenStore {
  readonly tokens = new Map<string, { token: Token; sha256: string }>();
  readonly changes: Change[] = [];
  /** Look-ups that reached the store. */
  finds = 0;
  readonly #outage: Outage;

  constructor(outage: Outage) {
    this.#outage = outage;
  }

  async create(input: NewToken, actor: string): Promise<Token> {
    this.#outage.check();
    if ([...this.tokens.values()].some(({ token }) => token.name === input.name))
      throw new CarnetError('already_exists', `there is a token named ${input.name} already`);
    const { sha256, ...fields } = input;
    const id = `token-${this.tokens.size + 1}`;
    const token = {
      ...fields,
      id,
      createdAt: new Date('2026-03-01T00:00:00Z'),
      revokedAt: null,
      lastUsedAt: null,
    };
    this.tokens.set(id, { token, sha256: Buffer.from(sha256).toString('hex') });
    this.changes.push([actor, 'token.create', id]);
    return token;
  }

  async find(sha256: Uint8Array): Promise<Token | undefined> {
    this.finds++;
    this.#outage.check();
    const hex = Buffer.from(sha256).toString('hex');
    return [...this.tokens.values()].find((one) => one.sha256 === hex)?.token;
  }

  async used(id: string, at: Date): Promise<void> {
    const found = this.tokens.get(id);
    if (found !== undefined) this.tokens.set(id, { ...found, token: { ...found.token, lastUsedAt: at } });
  }

  async list(): Promise<Token[]> {
    this.#outage.check();
    return [...this.tokens.values()].map(({ token }) => token);
  }

  async revoke(id: string, actor: string): Promise<Token> {
    this.#outage.check();
    const found = this.tokens.get(id);
    if (found === undefined) throw new CarnetError('not_found', `there is no token ${id}`);
    const token = { ...found.token, revokedAt: new Date('2026-03-02T00:00:00Z') };
    this.tokens.set(id, { ...found, token });
    this.changes.push([actor, 'token.revoke', id]);
    return token;
  }
}

export class MemorySessions implements SessionStore {
  readonly sessions = new Map<string, { session: Session; sha256: string }>();
  readonly #outage: Outage;
  readonly #tokens: MemoryTokens;

  constructor(outage: Outage, tokens: MemoryTokens) {
    this.#outage = outage;
    this.#tokens = tokens;
  }

  async create(input: NewSession): Promise<Session> {
    this.#outage.check();
    const { sha256, ...fields } = input;
    const id = `session-${this.sessions.size + 1}`;
    const session = { ...fields, id, lastUsedAt: fields.createdAt };
    this.sessions.set(id, { session, sha256: Buffer.from(sha256).toString('hex') });
    return session;
  }

  async find(sha256: Uint8Array): Promise<Session | undefined> {
    this.#outage.check();
    const hex = Buffer.from(sha256).toString('hex');
    const found = [...this.sessions.values()].find((one) => one.sha256 === hex)?.session;
    const token = this.#tokens.tokens.get(found?.tokenId ?? '')?.token;
    return token === undefined || token.revokedAt === null ? found : undefined;
  }

  async used(id: string, at: Date): Promise<void> {
    const found = this.sessions.get(id);
    if (found !== undefined)
      this.sessions.set(id, { ...found, session: { ...found.session, lastUsedAt: at } });
  }

  async list(now: Date): Promise<Session[]> {
    this.#outage.check();
    return [...this.sessions.values()]
      .map(({ session }) => session)
      .filter(({ expiresAt }) => expiresAt > now);
  }

  async end(id: string): Promise<boolean> {
    this.#outage.check();
    return this.sessions.delete(id);
  }
}

export class MemoryIssuances implements IssuanceQuery {
  /** Newest first. */
  readonly issuances: IssuanceDetail[] = [];
  /** The filters of every search, as they came. */
  readonly searches: IssuanceFilter[] = [];
  readonly #outage: Outage;

  constructor(outage: Outage) {
    this.#outage = outage;
  }

  async search(
    filter: IssuanceFilter,
    { limit, cursor }: { limit: number; cursor: string | null },
  ): Promise<IssuancePage> {
    this.#outage.check();
    this.searches.push(filter);
    const offset = Number(cursor ?? 0);
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new CarnetError('cursor_invalid', 'the cursor is not one of ours');
    const fitting = this.issuances.filter((issuance) => fits(issuance, filter));
    const items = fitting.slice(offset, offset + limit);
    return { items, nextCursor: offset + limit < fitting.length ? String(offset + limit) : null };
  }

  async get(serial: string): Promise<IssuanceDetail | undefined> {
    this.#outage.check();
    return this.issuances.find((issuance) => issuance.serial === serial);
  }

  async unrecorded(serials: readonly string[]): Promise<Set<string>> {
    this.#outage.check();
    return new Set(serials.filter((serial) => this.issuances.every((known) => known.serial !== serial)));
  }
}

function fits(issuance: IssuanceDetail, filter: IssuanceFilter): boolean {
  const recordedAt = Number(issuance.recordedAtMicros / 1000n);
  return (
    (filter.identity ?? issuance.identity) === issuance.identity &&
    (filter.instance ?? issuance.instance) === issuance.instance &&
    (filter.serial ?? issuance.serial) === issuance.serial &&
    (filter.node ?? issuance.node) === issuance.node &&
    (filter.entry ?? issuance.entryId) === issuance.entryId &&
    (filter.authority ?? issuance.authority) === issuance.authority &&
    recordedAt >= (filter.from?.getTime() ?? 0) &&
    recordedAt < (filter.to?.getTime() ?? Number.POSITIVE_INFINITY)
  );
}

/** Explains the issuances by the entries that they name, each in its first version. */
export class MemoryExplanations implements ExplanationSource {
  readonly #issuances: MemoryIssuances;

  constructor(issuances: MemoryIssuances) {
    this.#issuances = issuances;
  }

  get(serial: string): Promise<IssuanceDetail | undefined> {
    return this.#issuances.get(serial);
  }

  async rulesThen(): Promise<RulesThen> {
    return { closest: this.#versions(), count: 3 };
  }

  async version(entryId: string): Promise<EntryVersion | null> {
    return this.#versions().find(({ entry }) => entry.id === entryId) ?? null;
  }

  async eventOf({ entry, actor, recordedAt }: EntryVersion): Promise<RecordedOperatorEvent> {
    const recordedAtMicros = BigInt(recordedAt.getTime()) * 1000n;
    const rest = { before: null, after: { ...entry }, reason: '', recordedAtMicros, logIndex: 3 };
    return { actor, action: 'entry.create', subject: entry.id, ...rest };
  }

  #versions(): EntryVersion[] {
    const entries = this.#issuances.issuances.flatMap(({ entry }) => entry ?? []);
    const byId = new Map(entries.map((entry) => [entry.id, entry]));
    const recordedAt = new Date('2026-03-01T00:00:00Z');
    return [...byId.values()].map((entry) => ({ entry, actor: 'operator:eve', recordedAt }));
  }
}

export class MemoryReports implements Reports {
  /** What was asked for, as it came. */
  readonly requests: ReportRequest[] = [];

  async report(request: ReportRequest): Promise<Report> {
    this.requests.push(request);
    const at = new Date('2026-03-09T10:00:00Z');
    const row = { key: request.by === 'day' ? new Date('2026-03-09T00:00:00Z') : 'web' };
    return { rows: [{ ...row, issued: 3, firstAt: at, lastAt: at }], issued: 5, count: 2, logSize: 9 };
  }

  async granted(entry: string, after: string | null, limit: number): Promise<GrantedIdentity[]> {
    const at = new Date('2026-03-09T10:00:00Z');
    return ['a', 'b', 'c']
      .map((name) => `spiffe://carnet.local/${entry}/${name}`)
      .filter((identity) => after === null || identity > after)
      .slice(0, limit)
      .map((identity) => ({ identity, issued: 3, firstAt: at, lastAt: at }));
  }

  async expiries(hours: number): Promise<Expiries> {
    return { hours: [{ hour: new Date('2026-03-10T12:00:00Z'), ending: hours }], later: 1 };
  }
}

export class MemoryOperatorEvents implements OperatorEventQuery {
  /** Newest first. */
  readonly events: RecordedOperatorEvent[] = [];
  /** The filters of every search, as they came. */
  readonly searches: OperatorEventFilter[] = [];

  async search(
    filter: OperatorEventFilter,
    { limit, cursor }: { limit: number; cursor: string | null },
  ): Promise<OperatorEventPage> {
    this.searches.push(filter);
    const offset = Number(cursor ?? 0);
    const items = this.events.slice(offset, offset + limit);
    return { items, nextCursor: offset + limit < this.events.length ? String(offset + limit) : null };
  }
}
