import 'reflect-metadata';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  AuthorityInfoAccessExtension,
  CRLDistributionPointsExtension,
  X509Certificate as PeculiarCertificate,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import anyTest, { type TestFn } from 'ava';
import type { CreatedAuthority } from '../../src/ca/create-authority.ts';
import { createIssue } from '../../src/ca/issue.ts';
import { KEY_ALGORITHMS } from '../../src/ca/signer.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { sequence } from '../../src/x509/der-writer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import { venvProgram } from '../support/venv.ts';
import { authorityWith, leafWith, uri } from '../x509/certificates.ts';
import { generateKeys, type KeyPair } from '../x509/keys.ts';
import { openssl } from '../x509/openssl.ts';
import { createAuthorities, issueRequest } from './authorities.ts';

/** Must-show 6: this many certificates over all profiles and key types, roots and issuing CAs among them. */
const CERTIFICATES = 1_000;
/** Today, and so late that the end of every CA is GeneralizedTime and those of leaves are both (RFC 5280 §4.1.2.5). */
const CLOCKS = [Date.parse('2026-03-01T12:00:00Z'), Date.parse('2049-12-31T23:45:00Z')];
const PUBLIC_URL = 'http://carnet.test:8080/pki';
const LIVES_SECONDS = [10, 60, 900, 3600, 86_400, 6 * 86_400];

/** A chain of CAs with the leaves under it, as files. */
interface Family {
  readonly name: string;
  readonly now: number;
  /** Half of them say where CRLs and issuers are. */
  readonly publicUrl: string | null;
  readonly root: CreatedAuthority;
  readonly issuing: CreatedAuthority;
  readonly leaves: Uint8Array[];
}

const test = anyTest as TestFn<{ directory: string; families: Family[] }>;

test.before(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-conformance-'));
  t.context = { directory, families: [] };
  const families = await createFamilies();
  await issueLeaves(families, CERTIFICATES - 2 * families.length);
  for (const { name, root, issuing, leaves } of families) {
    const files = [root.stored.certificate, issuing.stored.certificate, ...leaves];
    await Promise.all(
      files.map((der, i) => writeFile(pathOf(directory, name, i), encodePem('CERTIFICATE', der))),
    );
  }
  t.context.families = families;
});

test.after.always((t) => rm(t.context.directory, { recursive: true, force: true }));

test('pkilint finds no error in 1,000 certificates', (t) => {
  t.timeout(400_000);
  const paths = filesOf(t.context);
  t.is(paths.length, CERTIFICATES);
  const results = pkilint(paths);
  t.deepEqual(
    results.map(({ path }) => path),
    paths,
  );
  const serious = results.flatMap(({ path, findings }) =>
    findings.filter(([severity]) => severity !== 'INFO').map((finding) => [path, ...finding]),
  );
  t.deepEqual(serious, []);
});

test('pkilint, run like this, does find errors', async (t) => {
  const bad: readonly [string, Uint8Array][] = [
    ['pkix.ca_certificate_no_ku_extension', authorityWith({ extensions: { keyUsage: null } })],
    [
      'pkix.invalid_uri_syntax',
      leafWith({ extensions: { subjectAltName: [true, sequence(uri('spiffe://carnet.test/a b'))] } }),
    ],
  ];
  for (const [code, der] of bad) {
    const path = join(t.context.directory, `${code}.pem`);
    await writeFile(path, encodePem('CERTIFICATE', der));
    const codes = pkilint([path])[0]?.findings.map(([, found]) => found);
    t.true(codes?.includes(code), `${codes}`);
  }
});

test('OpenSSL verifies all chains strictly', (t) => {
  const { directory, families } = t.context;
  for (const { name, now, leaves } of families) {
    const [root = '', issuing = '', ...leafFiles] = filesOf({ directory, families: [{ name, leaves }] });
    const trusted = ['-x509_strict', '-check_ss_sig', '-attime', String(now / 1000), '-CAfile', root];
    const ca = openssl(['verify', ...trusted, issuing]);
    t.is(ca.stdout, `${issuing}: OK\n`, ca.stderr);
    for (const purpose of ['sslserver', 'sslclient']) {
      const { stdout, stderr } = openssl([
        'verify',
        ...trusted,
        '-purpose',
        purpose,
        '-untrusted',
        issuing,
        ...leafFiles,
      ]);
      t.is(stdout, leafFiles.map((file) => `${file}: OK\n`).join(''), stderr);
    }
  }
});

test('Node verifies all chains', (t) => {
  for (const { root, issuing, leaves } of t.context.families) {
    const [rootCertificate, issuingCertificate] = [root, issuing].map(
      ({ stored }) => new X509Certificate(stored.certificate),
    );
    if (rootCertificate === undefined || issuingCertificate === undefined) return t.fail();
    t.true(
      issuingCertificate.checkIssued(rootCertificate) && issuingCertificate.verify(rootCertificate.publicKey),
    );
    for (const leaf of leaves.map((der) => new X509Certificate(der)))
      t.true(leaf.checkIssued(issuingCertificate) && leaf.verify(issuingCertificate.publicKey) && !leaf.ca);
  }
});

test('@peculiar/x509 reads and verifies all chains', async (t) => {
  for (const { root, issuing, leaves } of t.context.families) {
    const issuer = new PeculiarCertificate(issuing.stored.certificate);
    t.true(
      await issuer.verify(
        { publicKey: new PeculiarCertificate(root.stored.certificate), signatureOnly: true },
        webcrypto,
      ),
    );
    const publicKey = await issuer.publicKey.export(webcrypto);
    for (const der of leaves) {
      const leaf = new PeculiarCertificate(der);
      const names = leaf.getExtension(SubjectAlternativeNameExtension)?.names.toJSON() ?? [];
      t.is(
        names.map(({ type, value }) => `${type === 'url' ? 'URI' : 'DNS'}:${value}`).join(', '),
        new X509Certificate(der).subjectAltName ?? '',
      );
      t.true(await leaf.verify({ publicKey, signatureOnly: true }, webcrypto));
    }
  }
});

test('@peculiar/x509 reads where CRL and issuer are, in leaves and issuing CAs and in no root', (t) => {
  for (const { publicUrl, root, issuing, leaves } of t.context.families) {
    t.deepEqual(locationsIn(root.stored.certificate), []);
    for (const [issuer, der] of [
      [root, issuing.stored.certificate],
      [issuing, leaves[0] ?? new Uint8Array()],
    ] as const)
      t.deepEqual(
        locationsIn(der),
        publicUrl === null
          ? []
          : [`${publicUrl}/ca/${issuer.stored.id}.cer`, `${publicUrl}/crl/${issuer.stored.id}.crl`],
      );
  }
});

function locationsIn(der: Uint8Array): (string | undefined)[] {
  const certificate = new PeculiarCertificate(der);
  const issuers = certificate.getExtension(AuthorityInfoAccessExtension)?.caIssuers ?? [];
  const points = certificate.getExtension(CRLDistributionPointsExtension)?.distributionPoints ?? [];
  return [
    ...issuers.map(({ value }) => value),
    ...points.flatMap(({ distributionPoint }) =>
      (distributionPoint?.fullName ?? []).map(({ uniformResourceIdentifier }) => uniformResourceIdentifier),
    ),
  ];
}

/** Severity, code and message of each finding in each file. */
function pkilint(paths: readonly string[]): { path: string; findings: string[][] }[] {
  const { stdout, stderr, status } = spawnSync(
    venvProgram('python'),
    [resolve(import.meta.dirname, 'lint_many.py')],
    { input: paths.join('\n'), encoding: 'utf8', maxBuffer: 2 ** 24 },
  );
  if (status !== 0) throw new Error(`pkilint failed: ${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

async function createFamilies(): Promise<Family[]> {
  const families: Family[] = [];
  for (const [i, algorithm] of KEY_ALGORITHMS.entries())
    for (const [j, now] of CLOCKS.entries()) {
      const name = `${algorithm}-${new Date(now).getUTCFullYear()}`;
      const publicUrl = (i + j) % 2 === 0 ? PUBLIC_URL : null;
      families.push({
        name,
        now,
        publicUrl,
        ...(await createAuthorities(algorithm, now, publicUrl)),
        leaves: [],
      });
    }
  return families;
}

/** Issues `count` leaves, turn by turn from each issuing CA, with every kind of key, life and number of names. */
async function issueLeaves(families: readonly Family[], count: number): Promise<void> {
  const keys: readonly [KeyKind, KeyPair][] = [
    ['ec-p256', generateKeys('ec-p256')],
    ['ec-p384', generateKeys('ec-p384')],
    ['rsa', generateKeys('rsa')],
    ['rsa', generateKeyPairSync('rsa', { modulusLength: 3072 })],
    ['rsa', generateKeyPairSync('rsa', { modulusLength: 4096 })],
  ];
  for (let i = 0; i < count; i++) {
    const family = turn(families, i);
    const [kind, pair] = turn(keys, Math.floor(i / families.length));
    const issue = createIssue({
      activeAuthority: () => family.issuing.signing,
      recorder: { record: async () => undefined },
      clock: () => family.now,
      defaultTtlSeconds: turn(LIVES_SECONDS, Math.floor(i / 7)),
      backdateSeconds: i % 31,
      publicUrl: family.publicUrl,
    });
    const spiffeId = parseSpiffeId(`spiffe://carnet.test/ns/${'n'.repeat(i % 60)}x/sa/web-${i}`);
    const dnsNames = Array.from({ length: i % 9 }, (_, n) => `web-${n}.ns-${i}.svc.cluster.local`);
    const { chain } = await issue(issueRequest(pair, kind, { spiffeId, dnsNames }));
    family.leaves.push(chain[0] ?? new Uint8Array());
  }
}

function turn<T>(items: readonly T[], i: number): T {
  const item = items[i % items.length];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}

function filesOf({
  directory,
  families,
}: {
  directory: string;
  families: readonly Pick<Family, 'name' | 'leaves'>[];
}): string[] {
  return families.flatMap(({ name, leaves }) =>
    Array.from({ length: leaves.length + 2 }, (_, i) => pathOf(directory, name, i)),
  );
}

function pathOf(directory: string, family: string, i: number): string {
  return join(directory, `${family}-${i}.pem`);
}
