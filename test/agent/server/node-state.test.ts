import test from 'ava';
import { type LinkState, NodeStates, PARTS } from '../../../src/agent/server/node-state.ts';
import { SessionResponse } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { parseSelector } from '../../../src/identity/selector.ts';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.ts';
import type { RegistrationEntry } from '../../../src/policy/entry.ts';

const DOMAIN = parseTrustDomain('carnet.local');
const PARTNER = parseTrustDomain('partner.org');

function bundle(trustDomain = DOMAIN, sequence = 1) {
  return {
    trustDomain,
    sequence,
    x509Sequence: sequence,
    x509Authorities: [new Uint8Array([1])],
    crls: [],
    jwtAuthorities: [],
  };
}

function entry(id: string, selectors: readonly string[], change: Partial<RegistrationEntry> = {}) {
  return {
    id,
    version: 1,
    spiffeId: `spiffe://carnet.local/${id}`,
    selectors: selectors.map(parseSelector),
    dnsNames: [],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
    ...change,
  };
}

const STATE: LinkState = {
  entries: [
    entry('all', ['unix:uid:1']),
    entry('rack', ['unix:uid:1', 'node:rack:7'], {
      federatesWith: [PARTNER],
      hint: 'internal',
      ttlSeconds: 60,
    }),
    entry('two', ['node:rack:7', 'node:name:b']),
  ],
  bundle: bundle(),
  denials: [],
  superseded: { wave: ['issuing-1'], urgent: ['issuing-2'] },
  federated: new Map([[PARTNER, bundle(PARTNER)]]),
};

function view(node: string, ...selectors: string[]) {
  return { node, selectors: [`node:name:${node}`, ...selectors].map(parseSelector) };
}

function denial(id: number, node: string | null, lifted = false) {
  const at = new Date(0);
  const scope = { identity: 'spiffe://carnet.local/all', instance: null, node };
  return {
    id,
    ...scope,
    reason: 'test',
    actor: 'operator:test',
    createdAt: at,
    liftedAt: lifted ? at : null,
  };
}

test('the parts, one behind the other, are one message', (t) => {
  const states = new NodeStates({
    ...STATE,
    denials: [denial(1, 'a'), denial(2, 'b'), denial(3, null, true)],
  });
  const message = SessionResponse.decode(
    Buffer.concat(PARTS.map((part) => states.part(part, view('a', 'node:rack:7')))),
  );
  t.deepEqual(
    message.entries?.entries.map(({ id, ttlSeconds, hint }) => [id, ttlSeconds, hint]),
    [
      ['all', 0, ''],
      ['rack', 60, 'internal'],
    ],
  );
  t.deepEqual(message.denials?.denials, [{ identity: 'spiffe://carnet.local/all', instance: '', node: 'a' }]);
  t.deepEqual(message.superseded, { wave: ['issuing-1'], urgent: ['issuing-2'] });
  t.deepEqual(
    message.federated?.bundles.map(({ trustDomain }) => trustDomain),
    ['partner.org'],
  );
});

test('a foreign bundle goes to nodes whose entries name it only', (t) => {
  const states = new NodeStates(STATE);
  const { federated } = SessionResponse.decode(states.part('federated', view('a')));
  t.deepEqual(federated, { bundles: [] });
});

test('nodes for which a part is the same share its bytes', (t) => {
  const states = new NodeStates(STATE);
  t.is(states.part('entries', view('a')), states.part('entries', view('c')));
  t.not(states.part('entries', view('a')), states.part('entries', view('a', 'node:rack:7')));
  t.is(states.part('denials', view('a')), states.part('denials', view('c')));
});

test('what a change does not change stays the same object, so that nobody is sent it again', (t) => {
  const states = new NodeStates(STATE);
  const [a, b] = [view('a'), view('b', 'node:rack:7')];
  const before = PARTS.map((part) => [states.part(part, a), states.part(part, b)]);
  const changed = STATE.entries.map((one) => (one.id === 'two' ? { ...one, version: 2 } : one));
  states.replace({ ...STATE, entries: changed });
  const after = PARTS.map((part) => [states.part(part, a), states.part(part, b)]);
  t.deepEqual(
    after.map((of, i) => of.map((bytes, j) => bytes === before[i]?.[j])),
    [[true, false], ...Array(4).fill([true, true])],
  );
});

test('a foreign bundle that is new is another part, though no entry changed', (t) => {
  const states = new NodeStates(STATE);
  const b = view('b', 'node:rack:7');
  const before = states.part('federated', b);
  states.replace({ ...STATE, federated: new Map([[PARTNER, bundle(PARTNER, 2)]]) });
  t.not(states.part('federated', b), before);
});

test('what is read anew and is the same is no change, whatever it is', (t) => {
  const denials = [denial(1, 'a'), denial(2, null)];
  const states = new NodeStates({ ...STATE, denials });
  const copy = {
    ...STATE,
    denials: denials.map((one) => ({ ...one })),
    entries: STATE.entries.map((one) => ({ ...one })),
  };
  t.false(states.replace(copy));
  const [first, ...rest] = copy.entries;
  for (const changed of [
    { ...copy, entries: rest },
    { ...copy, entries: first === undefined ? [] : [{ ...first, version: 2 }, ...rest] },
    { ...copy, denials: [denial(1, 'a'), denial(2, null, true)] },
    { ...copy, bundle: bundle(DOMAIN, 2) },
    { ...copy, superseded: { wave: [], urgent: ['issuing-2'] } },
    { ...copy, federated: new Map() },
  ])
    t.true(new NodeStates(copy).replace(changed));
});
