import { z } from 'zod';
import { timestampOf } from '../audit/cursor.ts';
import type { LogReader } from '../audit/log-store.ts';
import type {
  IssuanceDetail,
  IssuanceFilter,
  IssuanceQuery,
  RecordedIssuance,
  Revocation,
} from '../audit/query.ts';
import { type RetiredList, retiredInWords } from '../audit/retired-list.ts';
import { JWT_SVID } from '../ca/profile.ts';
import { CarnetError } from '../errors.ts';
import { parseSpiffeId, spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import {
  DecodedCertificate,
  DecodedToken,
  decodeCertificate,
  decodeToken,
  hexOf,
  pemOf,
} from './certificate-body.ts';
import { Entry, entryBody } from './entries.ts';
import { Hex, Pem, SerialInput, Sha256Input, TextInput, Time, TimeInput, timeText } from './fields.ts';
import { Evidence, evidenceBody, Logged, loggedBody } from './log.ts';
import { PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

/** The characters of SPIFFE IDs (SPIFFE-ID §2). */
const IDENTITY_PREFIX = /^spiffe:\/\/[a-zA-Z0-9._/-]*$/;

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
  identity_prefix: TextInput.optional().meta({
    description: 'The beginning of a SPIFFE ID, or of a path in our trust domain: `/payments/`',
  }),
  instance: TextInput.optional(),
  serial: SerialInput.optional(),
  node: TextInput.optional(),
  entry: TextInput.optional().meta({ description: 'ID of the registration entry that granted it' }),
  rule: TextInput.optional().meta({ description: 'Another word for `entry`' }),
  entry_version: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'must be a whole number from 1')
    .transform(Number)
    .optional()
    .meta({ description: 'The version of the `entry`, which must be given too', type: 'integer' }),
  authority: TextInput.optional(),
  requester: TextInput.optional().meta({ description: 'Who asked, for example `agent:node-1`' }),
  profile: TextInput.optional().meta({ description: 'For example `x509-svid`, `jwt-svid` or `issuing-ca`' }),
  fingerprint: Sha256Input.optional().meta({
    description: 'SHA-256 of the certificate or of its public key, in hex with or without colons',
  }),
  valid_at: TimeInput.optional().meta({
    description: 'Within its validity at this time, and not revoked by then',
  }),
  unexpired_at: TimeInput.optional().meta({
    description: 'Within its validity at this time, revoked or not',
  }),
  revoked: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .meta({ description: 'Whether it is revoked now', type: 'boolean' }),
  from: TimeInput.optional().meta({ description: 'Recorded at or after' }),
  to: TimeInput.optional().meta({ description: 'Recorded before' }),
  ...PAGE_QUERY,
});

export function issuanceRoutes(
  issuances: IssuanceQuery,
  log: LogReader,
  trustDomain: TrustDomain,
  retired: RetiredList,
): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/issuances',
      name: 'searchIssuances',
      access: 'reader',
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
      evidence: true,
      summary: 'Show one issued certificate',
      description:
        'With the certificate, what attestation saw, the registration entry as it was, and what revoked it, and the proof that it is in the log.',
      params: z.strictObject({ serial: SerialInput }),
      response: IssuanceDetails,
      handle: async ({ params: { serial } }) => {
        const issuance = await issuances.get(serial);
        if (issuance === undefined)
          throw new CarnetError(
            'not_found',
            `no certificate with the serial ${serial} is on record${retiredInWords(await retired.retired(), 'issuance')}`,
          );
        return { ...detailsBody(issuance), log: await loggedBody(log, serial) };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/issuances/{serial}/evidence',
      name: 'getEvidence',
      access: 'auditor',
      evidence: true,
      summary: 'Get what proves one issuance to others',
      description:
        'The log entries of the issuance, of the operator event that wrote its rule, and of what revoked it, with their ' +
        'proofs in one tree: all that `carnet audit prove` puts in a file.',
      params: z.strictObject({ serial: SerialInput }),
      response: Evidence,
      handle: async ({ params: { serial } }) => {
        const found = await evidenceBody(log, serial);
        if (found !== null) return found;
        if ((await issuances.get(serial)) === undefined)
          throw new CarnetError('not_found', `no certificate with the serial ${serial} is on record`);
        throw new CarnetError('unavailable', `${serial} is not in the log yet: try again in a second`);
      },
    }),
  ];
}

function filterOf(query: z.output<typeof IssuanceQueryParameters>, trustDomain: TrustDomain): IssuanceFilter {
  const { identity, identity_prefix: prefix, entry, rule, entry_version: entryVersion } = query;
  if (entry !== undefined && rule !== undefined)
    throw new CarnetError(
      'invalid_argument',
      'entry and rule are two words for one filter: give one of them',
    );
  if (entryVersion !== undefined && entry === undefined && rule === undefined)
    throw new CarnetError('invalid_argument', 'entry_version needs the entry whose version it is');
  const filter = {
    identity: identity && identityOf(identity, trustDomain),
    identityPrefix: prefix && identityPrefixOf(prefix, trustDomain),
    instance: query.instance,
    serial: query.serial,
    node: query.node,
    entry: entry ?? rule,
    entryVersion,
    authority: query.authority,
    requester: query.requester,
    profile: query.profile,
    fingerprint: query.fingerprint,
    validAt: query.valid_at,
    unexpiredAt: query.unexpired_at,
    revoked: query.revoked,
    from: query.from,
    to: query.to,
  };
  // A filter that isn't given is absent, not undefined.
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

/** The beginning of a SPIFFE ID, as an operator writes it: whole, or of its path. Throws `spiffe_id_invalid`. */
export function identityPrefixOf(text: string, trustDomain: TrustDomain): string {
  const whole = text.startsWith('/') ? `spiffe://${trustDomain}${text}` : text;
  if (IDENTITY_PREFIX.test(whole)) return whole;
  throw new CarnetError(
    'spiffe_id_invalid',
    `${JSON.stringify(text)}: give the beginning of a path such as /payments/, or of a whole SPIFFE ID`,
  );
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
  return {
    serial: issuance.serial,
    identity: issuance.identity,
    dns_names: [...issuance.dnsNames],
    profile: issuance.profile,
    not_before: timeText(issuance.notBefore),
    not_after: timeText(issuance.notAfter),
    recorded_at: timestampOf(issuance.recordedAtMicros),
    authority: issuance.authority,
    node: issuance.node,
    instance: issuance.instance,
    entry: issuance.entryId,
    entry_version: issuance.entryVersion,
    requester: issuance.requester,
    public_key_sha256: hexOf(issuance.publicKeySha256),
    certificate_sha256: hexOf(issuance.certificateSha256),
  };
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
