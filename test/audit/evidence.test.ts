import test from 'ava';
import { checkEvidence, EvidenceBundle } from '../../src/audit/evidence.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { makeCertificate } from '../api/harness.ts';
import { runCommand, startOperator } from '../cli/harness.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const given = issuance({
  certificate: await makeCertificate('leaf'),
  dnsNames: ['a.internal', 'b.internal'],
  evidence: { uid: 1000, groups: [1, 2], path: '/usr/bin/ü' },
});
test.after.always(async () => {
  await database.close();
  await created.drop();
});

test.serial(
  'prove refuses while the issuance is not in the log, and then writes what holds by itself',
  async (t) => {
    const overrides = { issuances: new PostgresIssuanceQuery(database), auditLog: new PostgresLog(database) };
    const { env } = await startOperator(t, overrides);
    await insertIssuances(database, [issuance(), given, issuance()]);
    t.regex(
      (await runCommand(auditCommand, ['prove', given.serial], { env })).stderr,
      /is not in the log yet/,
    );
    await sequenceAll(database, 3);
    const { stdout, stderr } = await runCommand(auditCommand, ['prove', given.serial], { env });
    t.regex(stderr, /check it by: carnet audit verify --bundle FILE --verifier-key 'carnet\.local\/log\+/);
    const bundle = EvidenceBundle.parse(JSON.parse(stdout));
    t.is(checkEvidence(bundle, null).size, 3);
    t.is(checkEvidence(bundle, bundle.log.verifier_key).size, 3);

    for (const field of COVERED) {
      const changed = {
        ...bundle,
        issuance: { ...bundle.issuance, [field]: otherThan(bundle.issuance[field]) },
      };
      t.is(errorCodeOf(t.throws(() => checkEvidence(changed, null))), 'conflict', field);
    }
    for (const [field, value] of [
      ['index', 2],
      ['entry', Buffer.from('\x01\x01').toString('base64')],
      ['inclusion_proof', []],
      ['checkpoint', bundle.log.checkpoint.replace('\n3\n', '\n4\n')],
      ['verifier_key', 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'],
    ] as const)
      t.throws(
        () => checkEvidence({ ...bundle, log: { ...bundle.log, [field]: value } }, null),
        undefined,
        field,
      );
    const another = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
    t.is(errorCodeOf(t.throws(() => checkEvidence(bundle, another))), 'invalid_argument');
  },
);

/** All that a bundle says of an issuance and an entry has as well. */
const COVERED = [
  'serial',
  'identity',
  'dns_names',
  'profile',
  'not_before',
  'not_after',
  'recorded_at',
  'authority',
  'node',
  'instance',
  'entry',
  'entry_version',
  'requester',
  'public_key_sha256',
  'certificate_sha256',
  'certificate',
  'evidence',
] as const;

function otherThan(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (Array.isArray(value)) return [...value, 'more'];
  if (typeof value === 'object') return { ...value, more: 1 };
  const text = String(value);
  return text.startsWith('2') ? text.replace(/^2/, '3') : text.replace(/[a-f1-9](?=[^a-f1-9]*$)/, '0');
}
