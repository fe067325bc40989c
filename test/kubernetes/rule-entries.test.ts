import test from 'ava';
import fc from 'fast-check';
import { errorCodeOf } from '../../src/errors.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { type Pod, selectorsOfPod } from '../../src/kubernetes/pod.ts';
import { entryOf, groupsOf, keepRecent } from '../../src/kubernetes/rule-entries.ts';
import { parseRules, readRules } from '../../src/kubernetes/rules.ts';
import type { Service } from '../../src/kubernetes/service.ts';
import { authorize } from '../../src/policy/authorize.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';

const DOMAIN = parseTrustDomain('carnet.test');
const RULES = readRules(
  {
    rules: [
      { name: 'default', spiffe_id: '/ns/{namespace}/sa/{service_account}' },
      { name: 'a-narrow-one', spiffe_id: '/app/{label:app}', labels: { app: 'x' } },
    ],
  },
  DOMAIN,
);

function pod(fields: Partial<Pod>): Pod {
  return {
    namespace: 'a',
    name: 'p',
    uid: 'u',
    serviceAccount: 's',
    node: 'n',
    labels: {},
    ended: false,
    ...fields,
  };
}

/** What the entries of these pods and Services grant one of them. */
function grantsOf(one: Pod, pods: readonly Pod[], services: readonly Service[]) {
  const byKey = new Map(services.map((service) => [`${service.namespace}/${service.name}`, service]));
  const entries = [...groupsOf(RULES.rules, pods, services).values()].flatMap((group) => {
    const document = entryOf(group, byKey, RULES);
    if (document === null) return [];
    const input = parseEntry(document, DOMAIN);
    return [{ ...input, id: document.id, version: 1 }];
  });
  return authorize(selectorsOfPod(one), entries);
}

const labels = fc.dictionary(fc.constantFrom('app', 'tier', 'role'), fc.constantFrom('x', 'y'));
const pods = fc.array(
  fc.record({ namespace: fc.constantFrom('a', 'b'), labels }).map((fields) => pod(fields)),
  { minLength: 1, maxLength: 6 },
);
const services = fc.uniqueArray(
  fc.record({
    namespace: fc.constantFrom('a', 'b'),
    name: fc.constantFrom('s1', 's2', 's3'),
    selector: labels.filter((selector) => Object.keys(selector).length > 0),
  }),
  { selector: ({ namespace, name }) => `${namespace}/${name}`, maxLength: 5 },
);

test('each pod gets its identity, with the names of just those Services that select it, whatever others there are', (t) => {
  fc.assert(
    fc.property(pods, services, (all, others) => {
      for (const one of all) {
        const grants = grantsOf(one, all, others);
        const names = others
          .filter(({ namespace }) => namespace === one.namespace)
          .filter(({ selector }) =>
            Object.entries(selector).every(([key, value]) => one.labels[key] === value),
          )
          .map(({ name }) => `${name}.${one.namespace}.svc`);
        const identity = grants.find(
          ({ spiffeId }) => spiffeId === `spiffe://carnet.test/ns/${one.namespace}/sa/s`,
        );
        t.deepEqual(identity?.dnsNames.filter((name) => name.endsWith('.svc')).sort(), names.sort());
      }
    }),
  );
});

test('of a pod that a rule by label is for, that one comes first, whatever Services select it', (t) => {
  fc.assert(
    fc.property(pods, services, (all, others) => {
      for (const one of all.filter((candidate) => candidate.labels.app === 'x'))
        t.is(grantsOf(one, all, others)[0]?.spiffeId as string, 'spiffe://carnet.test/app/x');
    }),
  );
});

test('pods that have ended make no entries', (t) => {
  t.is(groupsOf(RULES.rules, [pod({ ended: true })], []).size, 0);
});

test('a group stays for as long as entries linger, and comes back at once', (t) => {
  const current = groupsOf(RULES.rules, [pod({})], []);
  const seen = keepRecent(new Map(), current, 1_000, 500);
  t.deepEqual([...keepRecent(seen, new Map(), 1_499, 500).keys()], ['k8s.pods.default.a']);
  t.is(keepRecent(seen, new Map(), 1_500, 500).size, 0);
  t.is(keepRecent(seen, current, 9_000, 500).get('k8s.pods.default.a')?.seenAt, 9_000);
});

test('no name outlives its Service', (t) => {
  const service: Service = { namespace: 'a', name: 's', selector: { app: 'y' } };
  const groups = groupsOf(RULES.rules, [pod({ labels: { app: 'y' } })], [service]);
  const named = [...groups.values()].find((group) => group.services.length > 0);
  t.truthy(named);
  if (named !== undefined) t.is(entryOf(named, new Map(), RULES), null);
});

const REFUSED: [why: string, text: string][] = [
  ['no YAML', 'rules: ['],
  ['a field that there is not', 'rules: [{name: a, spiffe_id: /a, label: {}}]'],
  ['two rules of one name', 'rules: [{name: a, spiffe_id: /a}, {name: a, spiffe_id: /b}]'],
  ['a name that no entry can have', 'rules: [{name: A_b, spiffe_id: /a}]'],
  ['an identity of another domain', 'rules: [{name: a, spiffe_id: "spiffe://other.test/a"}]'],
  ['two placeholders in a segment', 'rules: [{name: a, spiffe_id: "/{namespace}-{service_account}"}]'],
  ['a life that is none', 'rules: [{name: a, spiffe_id: /a, ttl: soon}]'],
  ['a wildcard for a domain', 'cluster_domain: "*.local"\nrules: []'],
  ['a time to linger that is none', 'linger: a while\nrules: []'],
];
for (const [why, text] of REFUSED)
  test(`refuses rules with ${why}`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseRules(text, DOMAIN))), 'config_invalid');
  });
