import { z } from 'zod';
import {
  type Expiries,
  type GrantedIdentity,
  MAX_REPORT_DAYS,
  MAX_REPORT_ROWS,
  REPORT_KEYS,
  type Report,
  type ReportRequest,
  type Reports,
} from '../audit/report.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { TextInput, Time, TimeInput, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema, parseCursor } from './page.ts';
import { defineRoute, type Route } from './route.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** How far back a report goes that doesn't say. */
const DEFAULT_DAYS = { hour: 2, other: 30 } as const;
const DEFAULT_ROWS = 1000;
const DEFAULT_HOURS = 48;
const MAX_HOURS = 31 * 24;

const ReportParameters = z.strictObject({
  by: z.enum(REPORT_KEYS),
  from: TimeInput.optional().meta({
    description: `The beginning of a day (UTC), of an hour by \`hour\`, \`profile\` and \`authority\`; at most ${MAX_REPORT_DAYS.other} days before \`to\`, by \`hour\` ${MAX_REPORT_DAYS.hour}. If not given ${DEFAULT_DAYS.other} days before, by \`hour\` ${DEFAULT_DAYS.hour}; of an \`entry\` since ever`,
  }),
  to: TimeInput.optional().meta({
    description: 'Likewise; exclusive. If not given, the end of this day or hour',
  }),
  entry: TextInput.optional().meta({
    description: 'Only what this registration entry granted, by `identity` or `day`',
  }),
  rule: TextInput.optional().meta({ description: 'Another word for `entry`' }),
  limit: z
    .string()
    .regex(/^[1-9]\d{0,4}$/, `must be a whole number from 1 to ${MAX_REPORT_ROWS}`)
    .transform(Number)
    .refine((limit) => limit <= MAX_REPORT_ROWS, `must be at most ${MAX_REPORT_ROWS}`)
    .optional()
    .meta({ type: 'integer', description: `Rows; ${DEFAULT_ROWS} if not given` }),
});

const ReportBody = z
  .strictObject({
    by: z.enum(REPORT_KEYS),
    from: Time.nullable(),
    to: Time,
    items: z
      .array(
        z.strictObject({
          key: z.string().nullable().meta({ description: 'What `by` says; of a day or hour when it begins' }),
          issued: z.int(),
          first_at: Time,
          last_at: Time,
        }),
      )
      .meta({ description: 'By time where the key is one, else the most first' }),
    issued: z.int().meta({ description: 'In all, also by what has no room among the items' }),
    count: z.int().meta({ description: 'How many items there are in all' }),
    log_size: z.int().meta({ description: 'Counted are the entries of the log before this one' }),
  })
  .meta({ id: 'IssuanceReport' });

const ExpiriesBody = z
  .strictObject({
    hours: z.array(z.strictObject({ hour: Time, ending: z.int() })).meta({
      description: 'When each hour begins, and how many end in it; hours in which none does are left out',
    }),
    later: z.int().meta({ description: 'That end after these hours' }),
  })
  .meta({ id: 'Expiries' });

const GrantedBody = z
  .strictObject({
    identity: z.string(),
    issued: z.int(),
    first_at: Time,
    last_at: Time,
  })
  .meta({ id: 'GrantedIdentity' });

export type GrantedBody = z.output<typeof GrantedBody>;
export type ReportBody = z.output<typeof ReportBody>;
export type ExpiriesBody = z.output<typeof ExpiriesBody>;

export function reportRoutes(reports: Reports, clock: Clock): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/reports/issuances',
      name: 'reportIssuances',
      access: 'reader',
      summary: 'Count the issuances by identity, node, rule, time, profile or authority',
      description:
        'Each once, as the log has them; what is newer than `log_size` (some seconds) is not counted yet.',
      query: ReportParameters,
      response: ReportBody,
      handle: async ({ query }) => {
        const request = requestOf(query, clock());
        return reportBody(request, await reports.report(request));
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/reports/granted',
      name: 'reportGranted',
      access: 'reader',
      summary: 'Every identity that a registration entry ever granted',
      description:
        'Also of an entry that is gone. By identity, however many, each with how often, and the first and the last time; what came into the log in the last seconds is not counted yet.',
      query: z.strictObject({ entry: TextInput, ...PAGE_QUERY }),
      response: pageSchema('GrantedIdentityPage', GrantedBody),
      handle: async ({ query: { entry, ...page } }) => {
        const after = page.cursor === null ? null : parseCursor(page.cursor);
        const rest = await reports.granted(entry, after, page.limit + 1);
        const { items, nextCursor } = cutPage(rest, ({ identity }) => identity, page);
        return { items: items.map(grantedBody), next_cursor: nextCursor };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/reports/expiries',
      name: 'reportExpiries',
      access: 'reader',
      summary: 'Count the leaves that are valid now by the hour in which they end',
      description: 'Without those that are revoked, CAs and tokens. The first hour is the one that runs.',
      query: z.strictObject({
        hours: z
          .string()
          .regex(/^[1-9]\d{0,2}$/, `must be a whole number from 1 to ${MAX_HOURS}`)
          .transform(Number)
          .refine((hours) => hours <= MAX_HOURS, `must be at most ${MAX_HOURS}`)
          .optional()
          .meta({ type: 'integer', description: `${DEFAULT_HOURS} if not given` }),
      }),
      response: ExpiriesBody,
      handle: async ({ query: { hours = DEFAULT_HOURS } }) => expiriesBody(await reports.expiries(hours)),
    }),
  ];
}

function requestOf(query: z.output<typeof ReportParameters>, now: number): ReportRequest {
  const { by, entry, rule, limit = DEFAULT_ROWS } = query;
  if (entry !== undefined && rule !== undefined)
    throw new CarnetError(
      'invalid_argument',
      'entry and rule are two words for one filter: give one of them',
    );
  const unit = by === 'hour' || by === 'profile' || by === 'authority' ? HOUR : DAY;
  const to = query.to ?? new Date((Math.floor(now / unit) + 1) * unit);
  const days = by === 'hour' ? DEFAULT_DAYS.hour : DEFAULT_DAYS.other;
  const of = entry ?? rule ?? null;
  const from = query.from ?? (of === null ? new Date(to.getTime() - days * DAY) : null);
  return { by, from, to, entry: of, limit };
}

function reportBody({ by, from, to }: ReportRequest, report: Report): z.input<typeof ReportBody> {
  return {
    by,
    from: from && timeText(from),
    to: timeText(to),
    items: report.rows.map(({ key, issued, firstAt, lastAt }) => ({
      key: key instanceof Date ? timeText(key) : key,
      issued,
      first_at: timeText(firstAt),
      last_at: timeText(lastAt),
    })),
    issued: report.issued,
    count: report.count,
    log_size: report.logSize,
  };
}

function grantedBody({ identity, issued, firstAt, lastAt }: GrantedIdentity): z.input<typeof GrantedBody> {
  return { identity, issued, first_at: timeText(firstAt), last_at: timeText(lastAt) };
}

function expiriesBody({ hours, later }: Expiries): z.input<typeof ExpiriesBody> {
  return { hours: hours.map(({ hour, ending }) => ({ hour: timeText(hour), ending })), later };
}
