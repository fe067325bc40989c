/** What issuances are counted by. Hours and days are of UTC, by the time of recording. */
export const REPORT_KEYS = ['identity', 'node', 'entry', 'day', 'hour', 'profile', 'authority'] as const;
export type ReportKey = (typeof REPORT_KEYS)[number];

/** How many rows an answer may have. */
export const MAX_REPORT_ROWS = 10_000;
/** How far apart `from` and `to` may be, in days, by what is counted: the bound is on what is read. */
export const MAX_REPORT_DAYS = { hour: 62, other: 400 } as const;

export interface ReportRequest {
  readonly by: ReportKey;
  /** Inclusive; the beginning of a day (of an hour for `hour`, `profile` and `authority`). Null: since ever. */
  readonly from: Date | null;
  /** Exclusive; likewise. */
  readonly to: Date;
  /** Only what this registration entry granted; with `identity` and `day` only. */
  readonly entry: string | null;
  /** At most {@link MAX_REPORT_ROWS}. */
  readonly limit: number;
}

export interface ReportRow {
  /** The identity, the node, the entry's ID, …; of a day or hour when it begins. Null where there is none. */
  readonly key: string | Date | null;
  readonly issued: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

/** Counted as the log has them, each issuance once. */
export interface Report {
  /** By time where the key is one; else the most first. */
  readonly rows: readonly ReportRow[];
  /** Of all rows, of which there may be more than were asked for. */
  readonly issued: number;
  readonly count: number;
  /** The entries of the log that are counted: those from 0 on, without this one. What is newer is not. */
  readonly logSize: number;
}

/** An identity, and how often a registration entry granted it between two times. */
export interface GrantedIdentity {
  readonly identity: string;
  readonly issued: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

/** Leaves that are valid now and not revoked, by when they end. */
export interface Expiries {
  /** By hour, the next ones first; hours in which none ends are left out. */
  readonly hours: readonly { readonly hour: Date; readonly ending: number }[];
  /** After the last of these hours. */
  readonly later: number;
}

export interface Reports {
  /** Throws `invalid_argument` for a span that is too long, or that does not begin and end as it must. */
  report(request: ReportRequest): Promise<Report>;
  /** The identities that a registration entry ever granted, in the order of their bytes: the first `limit` after one. */
  granted(entry: string, after: string | null, limit: number): Promise<GrantedIdentity[]>;
  /** Of this hour and the `hours - 1` that follow. Certificates of CAs and tokens are not among them. */
  expiries(hours: number): Promise<Expiries>;
}
