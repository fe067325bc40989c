import { z } from 'zod';
import { timestampOf } from '../audit/cursor.ts';
import { issuanceFields } from '../audit/log-record.ts';
import type { LogReader } from '../audit/log-store.ts';
import type {
  IssuanceDetail,
  IssuanceFilter,
  IssuanceQuery,
  RecordedIssuance,
  Revocation,
} from '../audit/query.ts';
import { JWT_SVID } from '../ca/profile.ts';
import { CarnetError } from '../errors.ts';
import { parseSpiffeId, spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import {
  DecodedCertificate,
  DecodedToken,
  decodeCertificate,
  decodeToken,
  pemOf,
} from './certificate-body.ts';
import { Entry, entryBody } from './entries.ts';
import { Hex, Pem, SerialInput, TextInput, Time, TimeInput, timeText } from './fields.ts';
import { Logged, loggedBody } from './log.ts';
import { PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

const ISSUANCE_FIELDS = {
  serial: Hex.meta({ description: 'Of a JWT-SVID its `jti`' }),
  identity: z.string().meta({ description: "The SPIFFE ID; for a CA certificate its trust domain's" }),
  dns_names: z.array(z.string()),
  profile: z.string(),
  not_before: Time,
  not_after: Time,
  recorded_at: Time.meta({ description: "By the database's clock, before the certificate was released" }),
  authority: z.string().meta({ description: 'Who signed it' }),
  node: z.string().nullable(),
  instance: z.string().nullable().meta({ description: 'The container or process that it belongs to' }),
  entry: z.string().nullable().meta({ description: 'ID of the registration entry that granted it' }),
  entry_version: z.int().nullable(),
  requester: z.string(),
  public_key_sha256: Hex.meta({ description: 'Of the SubjectPublicKeyInfo' }),
  certificate_sha256: Hex.meta({ description: 'Of the DER; of a JWT-SVID, of the whole token' }),
};

const Issuance = z.strictObject(ISSUANCE_FIELDS).meta({ id: 'Issuance' });

const IssuanceDetails = z
  .strictObject({
    ...ISSUANCE_FIELDS,
    certificate: Pem.nullable().meta({ description: 'Null for a JWT-SVID' }),
    decoded: DecodedCertificate.nullable().meta({ description: 'Null for a JWT-SVID' }),
    token: DecodedToken.nullable().meta({ description: 'Null for a certificate' }),
    evidence: z
      .record(z.string(), z.unknown())
      .nullable()
      .meta({ description: 'What attestation saw of the caller; null for a CA certificate' }),
    granted_by: Entry.nullable().meta({ description: 'The registration entry as it was' }),
    revocation: z
      .strictObject({ revoked_at: Time, reason_code: z.string(), reason: z.string(), actor: z.string() })
      .nullable()
      .meta({ description: 'What ended it before its time; null for one that is not revoked' }),
    log: Logged.nullable().meta({ description: 'Its proof; null until it is in the log, within a second' }),
  })
  .meta({ id: 'IssuanceDetails' });

export type IssuanceBody = z.output<typeof Issuance>;
export type IssuanceDetailsBody = z.output<typeof IssuanceDetails>;

const IssuanceQueryParameters = z.strictObject({
  identity: TextInput.optional().meta({ description: 'A whole SPIFFE ID, or a path in our trust domain' }),
  instance: TextInput.optional(),
  serial: SerialInput.optional(),
  node: TextInput.optional(),
  entry: TextInput.optional(),
  authority: TextInput.optional(),
  from: TimeInput.optional().meta({ description: 'Recorded at or after' }),
  to: TimeInput.optional().meta({ description: 'Recorded before' }),
  ...PAGE_QUERY,
});

export function issuanceRoutes(issuances: IssuanceQuery, log: LogReader, trustDomain: TrustDomain): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/issuances',
      name: 'searchIssuances',
      access: 'auditor',
      summary: 'Search the issued certificates',
      description: 'All given filters must fit, exactly. Newest first, by time of recording.',
      query: IssuanceQueryParameters,
      response: pageSchema('IssuancePage', Issuance),
      handle: async ({ query }) => {
        const page = await issuances.search(filterOf(query, trustDomain), query);
        return { items: page.items.map(issuanceBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/issuances/{serial}',
      name: 'getIssuance',
      access: 'auditor',
      summary: 'Show one issued certificate',
      description:
        'With the certificate, what attestation saw, the registration entry as it was, and what revoked it, and the proof that it is in the log.',
      params: z.strictObject({ serial: SerialInput }),
      response: IssuanceDetails,
      handle: async ({ params: { serial } }) => {
        const issuance = await issuances.get(serial);
        if (issuance === undefined)
          throw new CarnetError('not_found', `no certificate with the serial ${serial} is on record`);
        return { ...detailsBody(issuance), log: await loggedBody(log, serial) };
      },
    }),
  ];
}

function filterOf(query: z.output<typeof IssuanceQueryParameters>, trustDomain: TrustDomain): IssuanceFilter {
  const { limit: _limit, cursor: _cursor, identity, ...given } = query;
  const filter = { ...given, identity: identity && identityOf(identity, trustDomain) };
  // A filter that isn't given is absent, not undefined.
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

/** A SPIFFE ID as an operator writes it: whole, or as its path. Throws `spiffe_id_invalid`. */
export function identityOf(text: string, trustDomain: TrustDomain): string {
  if (text.startsWith('/')) return spiffeIdOf(trustDomain, text);
  if (text.includes(':')) return parseSpiffeId(text);
  throw new CarnetError(
    'spiffe_id_invalid',
    `${JSON.stringify(text)}: give a path such as /web, or a whole SPIFFE ID`,
  );
}

function issuanceBody(issuance: RecordedIssuance): z.input<typeof Issuance> {
  return { ...issuanceFields(issuance), recorded_at: timestampOf(issuance.recordedAtMicros) };
}

function detailsBody(issuance: IssuanceDetail): Omit<z.input<typeof IssuanceDetails>, 'log'> {
  return {
    ...issuanceBody(issuance),
    ...contentsOf(issuance),
    evidence: issuance.evidence,
    granted_by: issuance.entry === null ? null : entryBody(issuance.entry),
    revocation: issuance.revocation && revocationBody(issuance.revocation),
  };
}

function contentsOf({ profile, certificate }: IssuanceDetail) {
  return profile === JWT_SVID.name
    ? { certificate: null, decoded: null, token: decodeToken(certificate) }
    : { certificate: pemOf(certificate), decoded: decodeCertificate(certificate), token: null };
}

function revocationBody({ revokedAt, reasonCode, reason, actor }: Revocation) {
  return { revoked_at: timeText(revokedAt), reason_code: reasonCode, reason, actor };
}
