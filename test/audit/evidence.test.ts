import test, { type ExecutionContext } from 'ava';
import { buildEvidence, checkEvidence, EvidenceBundle } from '../../src/audit/evidence.ts';
import { formatVerifierKey } from '../../src/audit/log/note.ts';
import { proveInclusion } from '../../src/audit/log/proof.ts';
import { verifierOf } from '../../src/audit/log-key.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';
import { makeCertificate } from '../api/harness.ts';
import { runCommand, startOperator } from '../cli/harness.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { event, recordRevocation, sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const entries = new PostgresEntryStore(database);
const given = issuance({
  certificate: await makeCertificate('leaf'),
  dnsNames: ['a.internal', 'b.internal'],
  evidence: { uid: 1000, groups: [1, 2], path: '/usr/bin/ü' },
  entryId: 'web',
  entryVersion: 2,
});
const token = issuance({
  profile: 'jwt-svid',
  certificate: Buffer.from('eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0'),
  entryId: null,
  entryVersion: null,
  evidence: null,
  node: null,
  instance: null,
});
const ANOTHER_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
test.after.always(async () => {
  await database.close();
  await created.drop();
});

async function prove(t: ExecutionContext, serial: string) {
  const overrides = { issuances: new PostgresIssuanceQuery(database), auditLog: new PostgresLog(database) };
  const { env } = await startOperator(t, overrides);
  return runCommand(auditCommand, ['prove', serial], { env });
}

test.serial('prove refuses while the issuance is not in the log', async (t) => {
  await entries.create(web('/web', 'unix:uid:1'), 'operator:ada');
  await entries.apply([web('/web', 'unix:uid:1000')], 'operator:grace');
  // One that wrote the same version of another entry, and one that says of ours what no entry said.
  await entries.create({ ...web('/other', 'unix:uid:7'), id: 'other' }, 'operator:ada');
  await insertEvents(database, [event({ action: 'token.create', subject: 'web', after: { version: 2 } })]);
  await insertIssuances(database, [issuance(), given, token, issuance()]);
  const { code, stderr } = await prove(t, given.serial);
  t.is(code, 1);
  t.regex(stderr, /is not in the log yet/);
});

test.serial(
  'prove writes what holds by itself: the issuance, the rule as it was and who wrote it',
  async (t) => {
    await sequenceAll(database, 8);
    const { stdout, stderr } = await prove(t, given.serial);
    t.regex(stderr, /check it by: carnet audit verify --bundle FILE --verifier-key 'carnet\.local\/log\+/);
    const bundle = EvidenceBundle.parse(JSON.parse(stdout));
    t.is(checkEvidence(bundle, null).size, 8);
    t.is(checkEvidence(bundle, bundle.log.verifier_key).size, 8);
    t.like(bundle.issuance, { serial: given.serial, entry: 'web', entry_version: 2, token: null });
    t.like(bundle.rule, {
      id: 'web',
      version: 2,
      spiffe_id: 'spiffe://carnet.local/web',
      selectors: ['unix:uid:1000'],
      ttl: '1h',
      action: 'entry.update',
      written_by: 'operator:grace',
    });
    t.is(bundle.revocation, null);
    assertNothingCanBeAltered(t, bundle);

    for (const [what, changed] of [
      ['the key', { ...bundle.log, verifier_key: ANOTHER_KEY }],
      ['the checkpoint', { ...bundle.log, checkpoint: bundle.log.checkpoint.replace('\n8\n', '\n9\n') }],
    ] as const)
      t.throws(() => checkEvidence({ ...bundle, log: changed }, null), undefined, what);
    t.is(errorCodeOf(t.throws(() => checkEvidence(bundle, ANOTHER_KEY))), 'invalid_argument');
  },
);

test.serial('a rule that is left out, or is another one, is not the rule', async (t) => {
  const bundle = EvidenceBundle.parse(JSON.parse((await prove(t, given.serial)).stdout));
  t.throws(() => checkEvidence({ ...bundle, rule: null }, null), {
    message: /web version 2, is left out$/,
  });
  const { verifier_key, checkpoint, ...issued } = bundle.log;
  const log = new PostgresLog(database);
  const { size } = checkEvidence(bundle, null);
  for (let index = 0; index < size; index++) {
    if (index === bundle.rule?.log.index) continue;
    const rule = await proofOf(log, index, size);
    // Whatever of the log it is, by its own proof, which holds.
    t.throws(
      () =>
        checkEvidence(
          buildEvidence({ verifier_key, checkpoint, issuance: issued, rule, revocation: null }, ''),
          null,
        ),
      { message: /^the rule is|not one that wrote a registration entry$|^the entry does not tell of/ },
      `entry ${index}`,
    );
  }
});

test.serial('the evidence of a JWT-SVID has what was signed', async (t) => {
  const bundle = EvidenceBundle.parse(JSON.parse((await prove(t, token.serial)).stdout));
  t.like(bundle.issuance, {
    certificate: null,
    token: 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0',
    evidence: null,
  });
  t.is(bundle.rule, null);
  assertNothingCanBeAltered(t, bundle);
});

test.serial('what revoked it is proved with it, and no other revocation passes for it', async (t) => {
  await recordRevocation(database);
  await database.query(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor)
     VALUES (decode($1, 'hex'), 'issuing-0a1b2c3d', now(), 'keyCompromise', 'lost', 'operator:test')`,
    [given.serial],
  );
  await sequenceAll(database, 10);
  const bundle = EvidenceBundle.parse(JSON.parse((await prove(t, given.serial)).stdout));
  t.like(bundle.revocation, { reason_code: 'keyCompromise', actor: 'operator:test', reason: 'lost' });
  assertNothingCanBeAltered(t, bundle);
  const { verifier_key, checkpoint, ...issued } = bundle.log;
  const other = bundle.revocation?.log.index === 8 ? 9 : 8;
  const revocation = await proofOf(new PostgresLog(database), other, 10);
  const swapped = buildEvidence(
    { verifier_key, checkpoint, issuance: issued, rule: bundle.rule?.log ?? null, revocation },
    '',
  );
  t.throws(() => checkEvidence(swapped, null), { message: /^the revocation is of / });
});

test.serial(
  'neither a rule that came later nor a revocation that came before is of the issuance',
  async (t) => {
    const late = issuance({ entryId: 'late', entryVersion: 1, certificate: given.certificate });
    await insertIssuances(database, [late]);
    await database.query(
      `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor)
     VALUES (decode($1, 'hex'), 'issuing-0a1b2c3d', now(), 'keyCompromise', '', 'operator:test')`,
      ['5c'.repeat(16)],
    );
    await entries.create({ ...web('/late', 'unix:uid:8'), id: 'late' }, 'operator:eve');
    await insertIssuances(database, [
      issuance({ serial: '5c'.repeat(16), entryId: null, entryVersion: null }),
    ]);
    await sequenceAll(database, 14);
    const log = new PostgresLog(database);
    const key = await log.key();
    const note = (await log.head())?.note ?? '';
    if (key === null) throw new Error('there is no log');
    const check = async (at: { issuance: number; rule?: number; revocation?: number }) =>
      checkEvidence(
        buildEvidence(
          {
            verifier_key: formatVerifierKey(verifierOf(key)),
            checkpoint: note,
            issuance: await proofOf(log, at.issuance, 14),
            rule: at.rule === undefined ? null : await proofOf(log, at.rule, 14),
            revocation: at.revocation === undefined ? null : await proofOf(log, at.revocation, 14),
          },
          '',
        ),
        null,
      );
    await t.throwsAsync(check({ issuance: 10, rule: 12 }), { message: /^the rule was written after/ });
    await t.throwsAsync(check({ issuance: 13, revocation: 11 }), {
      message: /^the revocation was recorded before/,
    });
  },
);

function web(path: string, selector: string) {
  return parseEntry(
    { id: 'web', spiffe_id: path, selectors: [selector], dns_names: ['web.internal'], ttl: '1h' },
    parseTrustDomain('carnet.local'),
  );
}

async function proofOf(log: PostgresLog, index: number, size: number) {
  const [entry] = await log.entries(index, index + 1);
  const proof = await proveInclusion(index, size, log.readNodes);
  return {
    index,
    entry: Buffer.from(entry ?? []).toString('base64'),
    inclusion_proof: proof.map((hash) => Buffer.from(hash).toString('base64')),
  };
}

/** Changes every value of the bundle, however deep, and takes each away: neither may pass. */
function assertNothingCanBeAltered(t: ExecutionContext, bundle: EvidenceBundle): void {
  const paths = [...pathsOf(bundle)].filter(([first]) => first !== 'check');
  t.true(paths.length > 30);
  for (const path of paths)
    for (const [how, change] of [
      ['changed', otherThan],
      ['taken away', () => undefined],
    ] as const) {
      const altered = structuredClone(bundle) as unknown;
      const last = path.at(-1) as string;
      const parent = path.slice(0, -1).reduce((at, name) => (at as Record<string, unknown>)[name], altered);
      const holder = parent as Record<string, unknown>;
      const value = change(holder[last]);
      if (value !== undefined) holder[last] = value;
      else if (Array.isArray(holder)) holder.splice(Number(last), 1);
      else delete holder[last];
      t.throws(
        () => checkEvidence(EvidenceBundle.parse(JSON.parse(JSON.stringify(altered))), null),
        undefined,
        `${path.join('.')} ${how}`,
      );
    }
}

function* pathsOf(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  if (typeof value === 'object' && value !== null)
    for (const [name, inner] of Object.entries(value)) {
      yield [...path, name];
      yield* pathsOf(inner, [...path, name]);
    }
}

function otherThan(value: unknown): unknown {
  if (value === null) return 'something';
  if (typeof value === 'number') return value + 1;
  if (Array.isArray(value)) return [...value, 'more'];
  if (typeof value === 'object') return { ...value, more: 1 };
  // The first letter or digit that can be another of its kind: base64, hex and times stay well-formed.
  const text = String(value);
  const other = text.replace(/[0-8a-ex-yA-Y]/, (c) => String.fromCharCode(c.charCodeAt(0) + 1));
  return other === text ? `${text}!` : other;
}
