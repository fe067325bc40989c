import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { type Certificate, MAX_CERTIFICATE_BYTES, parseCertificate } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { serialHex } from '../../src/x509/serial.ts';
import { authorityWith, leafWith } from './certificates.ts';
import { parseTree, writeTree } from './der-tree.ts';
import { mutate, seeded } from './mutate.ts';

const MUTANTS = 10_000;

test('reads the roots of the public web as Node reads them, but for one that breaks RFC 5280 §4.1.2.5', (t) => {
  const refused: string[] = [];
  for (const pem of rootCertificates) {
    const theirs = new X509Certificate(pem);
    const ours = parse(pem);
    if (ours === undefined) {
      refused.push(theirs.subject.split('\n').at(-1) ?? '');
      continue;
    }
    t.is(serialHex(ours.serial), theirs.serialNumber.toLowerCase().padStart(32, '0'));
    t.deepEqual([ours.notBefore, ours.notAfter], [theirs.validFromDate, theirs.validToDate]);
    t.is(ours.basicConstraints?.value.ca, theirs.ca);
    t.deepEqual(Buffer.from(ours.spki), theirs.publicKey.export({ format: 'der', type: 'spki' }));
  }
  // Its notBefore, in 2011, is GeneralizedTime.
  t.deepEqual(refused, ['CN=Certum Trusted Network CA 2']);
  t.true(rootCertificates.length > 100);
});

function parse(pem: string): Certificate | undefined {
  try {
    return decodePem('CERTIFICATE', pem).map(parseCertificate)[0];
  } catch {
    return undefined;
  }
}

test(`of ${MUTANTS} mutated certificates each is read or refused as malformed`, (t) => {
  const random = seeded(5);
  const trees = [leafWith(), authorityWith()].map(parseTree);
  const counts = { read: 0, refused: 0 };
  for (let i = 0; i < MUTANTS; i++) {
    const [tree, donor] = i % 2 === 0 ? trees : [...trees].reverse();
    if (tree === undefined || donor === undefined) return t.fail();
    const der = writeTree(mutate(random, tree, donor));
    try {
      parseCertificate(der);
      counts.read++;
    } catch (error) {
      const clear = error instanceof CarnetError && error.code === 'der_malformed';
      if (!clear) t.fail(`${error}: ${der.toString('hex')}`);
      counts.refused++;
    }
  }
  t.true(counts.read > 100 && counts.refused > 100, JSON.stringify(counts));
});

test('refuses a certificate that is too large to be one', (t) => {
  t.like(
    t.throws(() => parseCertificate(new Uint8Array(MAX_CERTIFICATE_BYTES + 1))),
    { code: 'der_malformed' },
  );
});
