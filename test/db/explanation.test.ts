import test from 'ava';
import { recordedEvidence } from '../../src/attestation/recorded-evidence.ts';
import { type Explanation, explainIssuance, MAX_EXPLAINED_RULES } from '../../src/audit/explanation.ts';
import type { Issuance } from '../../src/audit/issuance.ts';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { PostgresExplanationSource } from '../../src/db/explanation-source.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import type { RegistrationEntry } from '../../src/policy/entry.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const entries = new PostgresEntryStore(database);
const source = new PostgresExplanationSource(database, new PostgresIssuanceQuery(database));
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function input(id: string, selectors: readonly string[], path = `/${id}`) {
  const rest = { dnsNames: [], ttlSeconds: null, hint: null, federatesWith: [] };
  return { id, spiffeId: `spiffe://carnet.local${path}`, selectors: selectors.map(parseSelector), ...rest };
}

/** Issues by an entry to one who shows these selectors. */
async function issue(entry: RegistrationEntry, selectors: readonly string[], fields: Partial<Issuance> = {}) {
  const evidence = recordedEvidence({
    evidence: { method: 'unix', uid: 1000 },
    selectors: selectors.map(parseSelector),
  });
  const given = issuance({
    identity: entry.spiffeId,
    entryId: entry.id,
    entryVersion: entry.version,
    evidence,
    ...fields,
  });
  await insertIssuances(database, [given]);
  return given;
}

async function explain({ serial }: Issuance): Promise<Explanation> {
  const explanation = await explainIssuance(source, serial);
  if (explanation === undefined) throw new Error(`no ${serial}`);
  return explanation;
}

function outcomes({ rules }: Explanation): Record<string, string> {
  return Object.fromEntries(rules.map(({ version, outcome }) => [version.entry.id, outcome]));
}

test.serial(
  'each rule is held against the selectors as it stood then, whatever became of it since',
  async (t) => {
    const web = await entries.create(input('web', ['unix:uid:1000', 'k8s:ns:shop']), 'operator:eve');
    await entries.create(input('user', ['unix:uid:1000']), 'operator:ada');
    await entries.create(
      input('narrow', ['unix:uid:1000', 'k8s:ns:shop', 'k8s:sa:web'], '/web'),
      'operator:ada',
    );
    await entries.create(input('other', ['k8s:ns:pay', 'k8s:sa:pay', 'unix:uid:1000']), 'operator:ada');
    await entries.create(input('unfilled', ['k8s:ns:shop'], '/{sa}'), 'operator:ada');
    await entries.create(input('gone', ['unix:uid:1000']), 'operator:ada');
    await entries.delete('gone', 'operator:ada');
    const given = await issue(web, ['unix:uid:1000', 'k8s:ns:shop']);
    const before = await explain(given);
    t.deepEqual(outcomes(before), {
      web: 'granted',
      user: 'granted_other',
      unfilled: 'placeholder_unfilled',
      narrow: 'selectors_missing',
      other: 'selectors_missing',
    });
    t.is(before.rules[0]?.version.entry.id, 'web');
    t.deepEqual(before.rules.find(({ version }) => version.entry.id === 'other')?.missing, [
      'k8s:ns:pay',
      'k8s:sa:pay',
    ]);
    t.is(before.then.source, 'recorded');
    t.is(before.otherRules, 0);
    t.deepEqual(before.remarks, []);
    t.like(before.writtenBy, { actor: 'operator:eve', action: 'entry.create', subject: 'web' });

    await entries.apply(
      [input('web', ['unix:uid:7']), input('user', ['unix:uid:7']), input('new', ['unix:uid:1000'])],
      'operator:mallory',
    );
    await entries.delete('web', 'operator:mallory');
    await entries.delete('narrow', 'operator:mallory');
    t.deepEqual(await explain(given), before);
  },
);

test.serial('a server that had not heard of the next version yet is told of', async (t) => {
  const first = await entries.create(input('late', ['unix:uid:1']), 'operator:eve');
  await entries.apply([input('late', ['unix:uid:2'])], 'operator:eve');
  const explanation = await explain(await issue(first, ['unix:uid:1']));
  t.is(explanation.rules[0]?.version.entry.version, 1);
  t.is(explanation.rules[0]?.outcome, 'granted');
  t.regex(explanation.remarks.join(), /version 2 of late was on record by then/);
});

test.serial(
  'older evidence gives what follows from it, and the rest is unknown rather than missing',
  async (t) => {
    const entry = await entries.create(
      input('old', ['unix:uid:1000', 'unix:gid:5', 'k8s:pod-label:app:web']),
      'operator:eve',
    );
    const evidence = { method: 'unix', uid: 1000, gid: 6, kubernetes: { namespace: 'shop' } };
    const explanation = await explain(await issue(entry, [], { evidence, entryId: 'user', entryVersion: 1 }));
    t.is(explanation.then.source, 'derived');
    t.deepEqual(explanation.then.selectors, ['k8s:ns:shop', 'unix:gid:6', 'unix:uid:1000']);
    const rule = explanation.rules.find(({ version }) => version.entry.id === 'old');
    t.deepEqual(rule?.missing, ['unix:gid:5']);
    t.deepEqual(rule?.unknown, ['k8s:pod-label:app:web']);
    t.regex(explanation.remarks.join(), /has not all selectors/);
  },
);

test.serial(
  'of many rules those are listed that match or lack least, and the others are counted',
  async (t) => {
    const many = Array.from({ length: 200 }, (_, i) => input(`many-${i}`, [`unix:gid:${i}`, 'unix:uid:88']));
    await entries.apply(many, 'operator:eve');
    const entry = await entries.create(input('one', ['unix:uid:88']), 'operator:eve');
    const explanation = await explain(await issue(entry, ['unix:uid:88', 'unix:gid:150']));
    t.is(explanation.rules.length, MAX_EXPLAINED_RULES);
    t.deepEqual(
      explanation.rules.slice(0, 2).map(({ version, outcome }) => [version.entry.id, outcome]),
      [
        ['one', 'granted'],
        ['many-150', 'granted_other'],
      ],
    );
    t.true(explanation.otherRules > 180);
  },
);

test.serial('what no rule granted says who asked for it', async (t) => {
  const given = issuance({
    profile: 'issuing-ca',
    entryId: null,
    entryVersion: null,
    evidence: null,
    requester: 'schedule:authorities',
  });
  await insertIssuances(database, [given]);
  const explanation = await explain(given);
  t.deepEqual([explanation.rules, explanation.then.source, explanation.writtenBy], [[], 'none', null]);
  t.regex(explanation.remarks.join(), /issuing-ca .* schedule:authorities asked for it/);
  t.is(await explainIssuance(source, '0'.repeat(32)), undefined);
});

test('selectors that would take too much room are left out of evidence, and counted', (t) => {
  const selectors = Array.from({ length: 100 }, (_, i) =>
    parseSelector(`docker:label:${i}:${'x'.repeat(90)}`),
  );
  const evidence = recordedEvidence({ evidence: { uid: 1 }, selectors });
  const kept = (evidence.selectors as string[]).length;
  t.true(kept > 30 && JSON.stringify(evidence).length < 5000);
  t.is(evidence.selectors_left_out, 100 - kept);
  t.deepEqual(recordedEvidence({ evidence: { uid: 1 }, selectors: [] }), { uid: 1 });
});
