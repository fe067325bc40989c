import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { nextCrl } from '../../src/ca/crl.ts';
import { KEY_ALGORITHMS } from '../../src/ca/signer.ts';
import { CarnetError } from '../../src/errors.ts';
import type { CrlEntry } from '../../src/x509/crl.ts';
import { encodeCrl, parseCrl } from '../../src/x509/crl.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { venvProgram } from '../support/venv.ts';
import { openssl } from '../x509/openssl.ts';
import { createAuthorities } from './authorities.ts';

const NOW = Date.parse('2026-03-01T12:00:00Z');
/** pkilint takes seconds to start, and on a busy machine many. */
const LINT_TIMEOUT_MS = 400_000;
const BACKDATE_SECONDS = 30;
const ENTRIES: readonly CrlEntry[] = [
  { serial: 'ff'.repeat(16), revokedAt: new Date('2026-03-01T11:00:00Z'), reason: 'unspecified' },
  { serial: `00${'5a'.repeat(15)}`, revokedAt: new Date('2026-03-01T11:30:00Z'), reason: 'keyCompromise' },
];

for (const keyAlgorithm of KEY_ALGORITHMS)
  test(`OpenSSL verifies and pkilint lints the CRL of an ${keyAlgorithm} authority, empty or not`, async (t) => {
    t.timeout(LINT_TIMEOUT_MS);
    const directory = await mkdtemp(join(tmpdir(), 'carnet-crl-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const { root, issuing } = await createAuthorities(keyAlgorithm, NOW);
    const empty = await nextCrl(root.signing, null, [], NOW, BACKDATE_SECONDS);
    const full = await nextCrl(issuing.signing, null, ENTRIES, NOW, BACKDATE_SECONDS);
    for (const [{ signing }, { crl }] of [
      [root, empty],
      [issuing, full],
    ] as const) {
      const [certificate, path] = [
        join(directory, `${signing.id}.pem`),
        join(directory, `${signing.id}.crl`),
      ];
      await writeFile(certificate, encodePem('CERTIFICATE', signing.certificate));
      await writeFile(path, encodePem('X509 CRL', crl));
      const verified = openssl(['crl', '-in', path, '-noout', '-CAfile', certificate, '-verify']);
      t.is(verified.status, 0, verified.stderr);
      t.regex(verified.stderr, /verify OK/);
      t.deepEqual(pkilintFindings(path), []);
    }
  });

test('pkilint, run like this, does find errors', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-crl-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const { root } = await createAuthorities('ec-p256', NOW);
  const { crl } = await nextCrl(root.signing, null, [], NOW, BACKDATE_SECONDS);
  const { tbs, signatureAlgorithm, signature } = parseCrl(crl);
  const path = join(directory, 'bad.crl');
  // The last octet of the OID of the CRL number, which then is missing (RFC 5280 §5.2.3).
  const bad = Uint8Array.from(tbs);
  bad[bad.length - 6] = 99;
  await writeFile(path, encodePem('X509 CRL', encodeCrl(signatureAlgorithm, bad, signature)));
  t.not(pkilintFindings(path).length, 0);
});

test('OpenSSL reads in a CRL what was written: numbers, times, serials and reasons', async (t) => {
  const { issuing } = await createAuthorities('ec-p256', NOW);
  const first = await nextCrl(issuing.signing, null, [], NOW, BACKDATE_SECONDS);
  const { crl } = await nextCrl(issuing.signing, first, ENTRIES, NOW, BACKDATE_SECONDS);
  const { stdout } = openssl(['crl', '-noout', '-text'], encodePem('X509 CRL', crl));
  for (const line of [
    /Version 2 \(0x1\)/,
    /Last Update: Mar {2}1 11:59:30 2026 GMT/,
    /Next Update: Mar {2}8 12:00:00 2026 GMT/,
    new RegExp(`X509v3 CRL Number:\\s+${NOW / 1000 + 1}\n`),
    new RegExp(`Serial Number: ${'5A'.repeat(15)}\\n\\s+Revocation Date: Mar {2}1 11:30:00 2026 GMT`),
    /X509v3 CRL Reason Code:\s+Key Compromise/,
    new RegExp(`Serial Number: ${'FF'.repeat(16)}\\n\\s+Revocation Date: Mar {2}1 11:00:00 2026 GMT`),
  ])
    t.regex(stdout, line);
  t.is(stdout.match(/CRL entry extensions/g)?.length, 1);
});

test("OpenSSL refuses a revoked issuing CA by its root's CRL", async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256', NOW);
  const directory = await mkdtemp(join(tmpdir(), 'carnet-crl-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const [rootPath, issuingPath] = [join(directory, 'root.pem'), join(directory, 'issuing.pem')];
  await writeFile(rootPath, encodePem('CERTIFICATE', root.signing.certificate));
  await writeFile(issuingPath, encodePem('CERTIFICATE', issuing.signing.certificate));
  const serial = /serial=(.*)/.exec(openssl(['x509', '-in', issuingPath, '-noout', '-serial']).stdout)?.[1];
  const check = async (entries: readonly CrlEntry[]): Promise<string> => {
    const crl = await nextCrl(root.signing, null, entries, NOW, BACKDATE_SECONDS);
    const path = join(directory, 'crl.pem');
    await writeFile(path, encodePem('X509 CRL', crl.crl));
    const crls = ['-crl_check', '-CRLfile', path];
    const { stdout, stderr } = openssl([
      'verify',
      '-attime',
      String(NOW / 1000),
      ...crls,
      '-CAfile',
      rootPath,
      issuingPath,
    ]);
    return stdout + stderr;
  };
  t.regex(await check([]), /OK/);
  t.regex(
    await check([
      {
        serial: (serial ?? '').toLowerCase().padStart(32, '0'),
        revokedAt: new Date(NOW),
        reason: 'cACompromise',
      },
    ]),
    /certificate revoked/,
  );
});

test('a CRL ends with its authority, and its number grows, also from a backup that lacks the last', async (t) => {
  const { issuing } = await createAuthorities('ec-p256', NOW);
  const first = await nextCrl(issuing.signing, null, [], NOW, BACKDATE_SECONDS);
  const { id, notAfter: nextUpdate } = issuing.signing;
  t.like(first, { authorityId: id, number: NOW / 1000, nextUpdate });
  const atOnce = await nextCrl(issuing.signing, first, ENTRIES, NOW, BACKDATE_SECONDS);
  t.is(atOnce.number, NOW / 1000 + 1);
  const later = NOW + 3_600_000;
  const second = await nextCrl(issuing.signing, first, ENTRIES, later, BACKDATE_SECONDS);
  t.like(second, {
    number: later / 1000,
    nextUpdate,
    thisUpdate: new Date(later - BACKDATE_SECONDS * 1000),
  });
  t.is(parseCrl(second.crl).entries.length, 2);
});

test('no CRL is made that would be over already, or that the authority did not sign', async (t) => {
  const { issuing } = await createAuthorities('ec-p256', NOW);
  const other = await createAuthorities('ec-p256', NOW);
  const ended = issuing.signing.notAfter.getTime();
  await t.throwsAsync(nextCrl(issuing.signing, null, [], ended, BACKDATE_SECONDS), {
    instanceOf: CarnetError,
    code: 'authority_unavailable',
  });
  const mixed = { ...issuing.signing, signer: other.issuing.signing.signer };
  await t.throwsAsync(nextCrl(mixed, null, [], NOW, BACKDATE_SECONDS), {
    instanceOf: CarnetError,
    code: 'certificate_lint_failed',
  });
});

test('a CRL holds no more than 50,000 certificates', async (t) => {
  const { issuing } = await createAuthorities('ec-p256', NOW);
  const entries = Array.from({ length: 50_001 }, (_, i) => ({
    serial: i.toString(16).padStart(32, '0'),
    revokedAt: new Date(NOW),
    reason: 'superseded' as const,
  }));
  await t.throwsAsync(nextCrl(issuing.signing, null, entries, NOW, BACKDATE_SECONDS), {
    instanceOf: CarnetError,
    code: 'conflict',
  });
});

/** Codes of what pkilint finds wrong. */
function pkilintFindings(path: string): string[] {
  const { stdout, stderr, error } = spawnSync(
    venvProgram('lint_crl'),
    ['lint', '-t', 'CRL', '-p', 'PKIX', '-s', 'WARNING', '-f', 'JSON', path],
    { encoding: 'utf8', timeout: LINT_TIMEOUT_MS },
  );
  if (error) throw error;
  const { results } = JSON.parse(stdout || stderr) as {
    results: { finding_descriptions: { code: string; severity: string }[] }[];
  };
  return results.flatMap(({ finding_descriptions }) => finding_descriptions.map(({ code }) => code));
}
