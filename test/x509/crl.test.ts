import test from 'ava';
import fc from 'fast-check';
import { CarnetError } from '../../src/errors.ts';
import { toHex } from '../../src/x509/bytes.ts';
import { type CrlFields, crlIssuer, encodeCrl, encodeTbsCertList, parseCrl } from '../../src/x509/crl.ts';
import { contextConstructed, contextPrimitive, TAG } from '../../src/x509/der-tag.ts';
import {
  asciiString,
  element,
  explicit,
  objectIdentifier,
  octetString,
  sequence,
  TRUE,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import { OID } from '../../src/x509/oid.ts';
import { isRevocationReason, REVOCATION_REASONS } from '../../src/x509/revocation-reason.ts';
import { SIGNATURE_ALGORITHMS } from '../../src/x509/signature-algorithm.ts';
import { encodeTime } from '../../src/x509/time.ts';
import { ISSUER_NAME } from './certificates.ts';
import { parseTree, writeTree } from './der-tree.ts';
import { mutate, seeded } from './mutate.ts';

const ALGORITHM = SIGNATURE_ALGORITHMS.ecdsaWithSha256.der;
const FIELDS: CrlFields = {
  signatureAlgorithm: ALGORITHM,
  issuer: ISSUER_NAME,
  authorityKeyIdentifier: new Uint8Array(20).fill(7),
  number: 42,
  thisUpdate: new Date('2026-03-01T12:00:00Z'),
  nextUpdate: new Date('2051-03-08T12:00:00Z'),
  entries: [
    { serial: '01'.repeat(16), revokedAt: new Date('2026-03-01T11:00:00Z'), reason: 'unspecified' },
    { serial: 'fe'.repeat(16), revokedAt: new Date('2026-03-01T11:30:00Z'), reason: 'keyCompromise' },
  ],
};
const MUTANTS = 20_000;

const second = fc
  .integer({ min: Date.UTC(1990, 0) / 1000, max: Date.UTC(2120, 0) / 1000 })
  .map((seconds) => new Date(seconds * 1000));
const serial = fc.stringMatching(/^[0-9a-f]{32}$/);
const reason = fc.constantFrom(...Object.keys(REVOCATION_REASONS).filter(isRevocationReason));

test('what is encoded is read again, its entries by serial', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        thisUpdate: second,
        nextUpdate: second,
        authorityKeyIdentifier: fc.uint8Array({ minLength: 20, maxLength: 20 }),
        entries: fc.uniqueArray(fc.record({ serial, revokedAt: second, reason }), {
          maxLength: 60,
          selector: (entry) => entry.serial,
        }),
      }),
      (fields) => {
        const { tbs, outerSignatureAlgorithm, signature, ...read } = parseCrl(
          encoded({ ...FIELDS, ...fields }),
        );
        t.deepEqual(
          plain(read),
          plain({
            ...FIELDS,
            ...fields,
            entries: [...fields.entries].sort((a, b) => (a.serial < b.serial ? -1 : 1)),
          }),
        );
        t.deepEqual(Buffer.from(outerSignatureAlgorithm), Buffer.from(ALGORITHM));
        t.deepEqual(Buffer.from(signature), Buffer.from([1, 2, 3]));
      },
    ),
  );
});

test('a CRL that revokes nothing has no list of entries (RFC 5280 §5.1.2.6)', (t) => {
  const [, ...fields] = parseTree(encodeTbsCertList({ ...FIELDS, entries: [] })).children ?? [];
  t.deepEqual(
    fields.map(({ tag }) => tag),
    [TAG.sequence, TAG.sequence, TAG.utcTime, TAG.generalizedTime, contextConstructed(0)],
  );
});

test('an entry without a reason has no extensions, which BoringSSL would refuse empty', (t) => {
  const list = parseTree(encodeTbsCertList(FIELDS)).children?.[5]?.children ?? [];
  t.deepEqual(
    list.map(({ children }) => children?.length),
    [2, 3],
  );
});

test('the issuer is told without reading the rest', (t) => {
  t.deepEqual(Buffer.from(crlIssuer(encoded(FIELDS))), Buffer.from(ISSUER_NAME));
});

const TIMES = [encodeTime(FIELDS.thisUpdate), encodeTime(FIELDS.nextUpdate)];
const VERSION = unsignedInteger(Uint8Array.of(1));
const KEY = extension(
  OID.authorityKeyIdentifier,
  sequence(element(contextPrimitive(0), FIELDS.authorityKeyIdentifier)),
);
const NUMBER = extension(OID.crlNumber, unsignedInteger(Uint8Array.of(42)));
const EXTENSIONS = explicit(0, sequence(KEY, NUMBER));
const SERIAL = unsignedInteger(Uint8Array.of(5));
const HEAD = [VERSION, ALGORITHM, ISSUER_NAME, ...TIMES];

test('the tables below begin from a CRL that is read', (t) => {
  t.like(parseCrl(signed(...HEAD, sequence(entry(reasonCode(1))), EXTENSIONS)), { number: 42 });
});

for (const [what, der] of [
  ['of version 1, without extensions (RFC 5280 §5.1.2.1)', signed(ALGORITHM, ISSUER_NAME, ...TIMES)],
  ['of version 3', signed(unsignedInteger(Uint8Array.of(2)), ...HEAD.slice(1), EXTENSIONS)],
  ['without a nextUpdate (§5.1.2.5)', signed(...HEAD.slice(0, 4), EXTENSIONS)],
  ['with an empty list of entries (§5.1.2.6)', signed(...HEAD, sequence(), EXTENSIONS)],
  ['without extensions', signed(...HEAD)],
  ['without a number (§5.2.3)', signed(...HEAD, explicit(0, sequence(KEY)))],
  ['without a key identifier (§5.2.1)', signed(...HEAD, explicit(0, sequence(NUMBER)))],
  [
    'with a critical extension, such as a delta CRL indicator (§5.2.4)',
    signed(...HEAD, explicit(0, sequence(KEY, NUMBER, extension('2.5.29.27', SERIAL, TRUE)))),
  ],
  [
    'with a number of 2^53',
    signed(
      ...HEAD,
      explicit(
        0,
        sequence(KEY, extension(OID.crlNumber, unsignedInteger(Buffer.from('20000000000000', 'hex')))),
      ),
    ),
  ],
  ['with an entry that is on hold (§5.3.1)', signed(...HEAD, sequence(entry(reasonCode(6))), EXTENSIONS)],
  ['with an entry of reason 0 (§5.3.1)', signed(...HEAD, sequence(entry(reasonCode(0))), EXTENSIONS)],
  ['with an entry of empty extensions', signed(...HEAD, sequence(entry(sequence())), EXTENSIONS)],
  [
    'with an entry of a negative serial',
    signed(
      ...HEAD,
      sequence(sequence(element(TAG.integer, Uint8Array.of(0x80)), TIMES[0] ?? SERIAL)),
      EXTENSIONS,
    ),
  ],
  ['with something behind it', Buffer.concat([encoded(FIELDS), Uint8Array.of(5, 0)])],
  ['that is PEM', asciiString(TAG.printableString, '-----BEGIN X509 CRL-----')],
] as const)
  test(`a CRL ${what} is not read`, (t) => {
    t.throws(() => parseCrl(der), { instanceOf: CarnetError, code: 'der_malformed' });
  });

test(`of ${MUTANTS} mutated CRLs each is read or refused clearly, and what is read is encoded the same`, (t) => {
  const random = seeded(11);
  const [good, donor] = [parseTree(encoded(FIELDS)), parseTree(encoded({ ...FIELDS, entries: [] }))];
  let read = 0;
  for (let i = 0; i < MUTANTS; i++) {
    const der = writeTree(mutate(random, good, donor));
    try {
      const crl = parseCrl(der);
      const again = encodeTbsCertList(crl);
      // Entries in another order are the one thing that DER leaves open.
      if (!Buffer.from(again).equals(crl.tbs)) t.is(sortedEntries(again), sortedEntries(crl.tbs), toHex(der));
      read++;
    } catch (error) {
      if (!(error instanceof CarnetError) || !['der_malformed', 'invalid_argument'].includes(error.code))
        t.fail(`${error}: ${toHex(der)}`);
    }
  }
  t.log(`${read} of ${MUTANTS} were read`);
  t.true(read > 100);
});

function encoded(fields: CrlFields): Uint8Array {
  return encodeCrl(fields.signatureAlgorithm, encodeTbsCertList(fields), Uint8Array.of(1, 2, 3));
}

function signed(...fields: Uint8Array[]): Uint8Array {
  return encodeCrl(ALGORITHM, sequence(...fields), Uint8Array.of(1, 2, 3));
}

function extension(id: string, value: Uint8Array, ...critical: Uint8Array[]): Uint8Array {
  return sequence(objectIdentifier(id), ...critical, octetString(value));
}

function entry(extensions: Uint8Array): Uint8Array {
  return sequence(SERIAL, encodeTime(FIELDS.thisUpdate), extensions);
}

function reasonCode(code: number): Uint8Array {
  return sequence(extension(OID.reasonCode, element(0x0a, Uint8Array.of(code))));
}

function sortedEntries(tbs: Uint8Array): string {
  return parseCrl(encodeCrl(ALGORITHM, tbs, Uint8Array.of()))
    .entries.map((one) => JSON.stringify(one))
    .sort()
    .join();
}

/** Views and buffers alike, for comparison. */
function plain(fields: CrlFields): object {
  return JSON.parse(
    JSON.stringify(fields, (_, value) => (value instanceof Uint8Array ? toHex(value) : value)),
  );
}
