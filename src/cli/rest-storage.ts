import type { Clock } from '../clock.ts';
import { PostgresExplanationSource } from '../db/explanation-source.ts';
import { PostgresExportSource } from '../db/export-source.ts';
import { summarizeFleet } from '../db/fleet-summary.ts';
import { PostgresForwardStore } from '../db/forward-sinks.ts';
import { PostgresIssuanceQuery } from '../db/issuance-query.ts';
import { PostgresLegalHolds } from '../db/legal-holds.ts';
import { insertEvents, listEvents } from '../db/operator-events.ts';
import { PostgresReports } from '../db/reports.ts';
import { PostgresRetiredList } from '../db/retention.ts';
import { findCrl, listDenials } from '../db/revocations.ts';
import { listEndedRotations } from '../db/rotations.ts';
import { PostgresSessionStore } from '../db/sessions.ts';
import { liftDenial, revoke } from '../revocation/revoke.ts';
import { type ApplyOptions, readSituation } from '../rotation/apply.ts';
import { requestStep, startOrResume } from '../rotation/operate.ts';
import { pictureOf } from '../rotation/picture.ts';
import { importUpstream, requestUpstream } from '../rotation/upstream.ts';
import type { listenHttp } from './listen-http.ts';
import type { Storage } from './open-storage.ts';

type HttpParts = Parameters<typeof listenHttp>[2];

/** What the REST interface has of the database alone. */
export type RestStorage = Pick<
  HttpParts,
  | 'sessions'
  | 'recordEvent'
  | 'issuances'
  | 'reports'
  | 'explanations'
  | 'operatorEvents'
  | 'exports'
  | 'sinks'
  | 'holds'
  | 'retired'
  | 'rotations'
  | 'upstream'
  | 'revocations'
  | 'fleet'
>;

/** History is read on connections of its own: however many ask, and however long it takes, issuance has its own. */
export function restStorage(
  { database, history }: Pick<Storage, 'database' | 'history'>,
  apply: ApplyOptions,
  clock: Clock,
): RestStorage {
  const issuances = new PostgresIssuanceQuery(history, clock);
  return {
    sessions: new PostgresSessionStore(database),
    recordEvent: (event) => insertEvents(database, [event]),
    issuances,
    reports: new PostgresReports(history, clock),
    explanations: new PostgresExplanationSource(history, issuances),
    operatorEvents: { search: (filter, page) => listEvents(history, page, filter) },
    exports: new PostgresExportSource(history),
    sinks: new PostgresForwardStore(database),
    holds: new PostgresLegalHolds(database),
    retired: new PostgresRetiredList(history),
    rotations: {
      pictures: () => apply.store.transact(async (tx) => pictureOf(clock(), await readSituation(tx))),
      startOrResume: (request) => startOrResume(apply, request),
      requestStep: (request) => requestStep(apply, request),
      ended: () => listEndedRotations(history),
    },
    upstream: {
      request: (actor) => requestUpstream(apply, actor),
      import: (request) => importUpstream(apply, request),
    },
    revocations: {
      revoke: (request) => revoke(apply, request),
      lift: (id, actor) => liftDenial(apply, id, actor),
      denials: () => listDenials(database),
      crl: (authorityId) => findCrl(database, authorityId),
    },
    fleet: () => summarizeFleet(history),
  };
}
