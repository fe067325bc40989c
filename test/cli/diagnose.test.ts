import test from 'ava';
import type { AuthorityBody } from '../../src/api/authorities.ts';
import type { ProxyBody, ProxyResourceBody } from '../../src/api/proxies.ts';
import type { SinkBody } from '../../src/api/sinks.ts';
import {
  diagnoseAuthorities,
  diagnoseClock,
  diagnoseLog,
  diagnoseProxies,
  diagnoseRecords,
  diagnoseSinks,
  diagnoseTokenFile,
  diagnoseTransport,
  type Finding,
} from '../../src/cli/diagnose.ts';
import { diagnoseWitnesses } from '../../src/cli/diagnose-witnesses.ts';
import { NOW } from '../api/harness.ts';

const DAY_MS = 86_400_000;
const at = (ms: number): string => new Date(NOW + ms).toISOString();
const levels = (findings: readonly Finding[]): string[] => findings.map(({ level }) => level);

for (const [skewSeconds, level] of [
  [0, 'ok'],
  [4, 'ok'],
  [10, 'warn'],
  [-10, 'warn'],
  [60, 'fail'],
  [-3600, 'fail'],
] as const)
  test(`a server whose clock is ${skewSeconds} s off is ${level}`, (t) => {
    const header = new Date(NOW + skewSeconds * 1000).toUTCString();
    t.is(diagnoseClock(header, NOW).level, level);
  });

test('a server that tells no time is a warning', (t) => {
  t.is(diagnoseClock(null, NOW).level, 'warn');
  t.is(diagnoseClock('soon', NOW).level, 'warn');
});

for (const [mode, level] of [
  [0o600, 'ok'],
  [0o400, 'ok'],
  [0o640, 'fail'],
  [0o604, 'fail'],
  [0o602, 'fail'],
  [0o644, 'fail'],
] as const)
  test(`a token file of mode ${mode.toString(8)} is ${level}`, (t) => {
    t.is(diagnoseTokenFile('admin.token', 0o100000 | mode).level, level);
  });

for (const [server, warned] of [
  ['http://127.0.0.1:8080', false],
  ['http://localhost:8080', false],
  ['http://[::1]:8080', false],
  ['https://carnet.example', false],
  ['http://carnet.example', true],
  ['http://10.0.0.1:8080', true],
] as const)
  test(`a token ${warned ? 'is in the clear' : 'is safe'} on its way to ${server}`, (t) => {
    t.is(diagnoseTransport(server).length, warned ? 1 : 0);
  });

const ROOT: AuthorityBody = {
  id: 'root-1',
  kind: 'root',
  state: 'active',
  parent: 'root-1',
  key_algorithm: 'ec-p256',
  not_before: at(-10 * DAY_MS),
  not_after: at(90 * DAY_MS),
  created_at: at(-10 * DAY_MS),
  certificate_sha256: '00',
  certificate: '',
  cross_certificate: null,
};
const ISSUING: AuthorityBody = { ...ROOT, id: 'issuing-1', kind: 'issuing' };

for (const [title, authorities, expected] of [
  ['both kinds active', [ROOT, ISSUING], ['ok', 'ok']],
  ['none', [], ['fail', 'fail']],
  ['no active issuing CA', [ROOT, { ...ISSUING, state: 'draining' }], ['fail', 'ok', 'ok']],
  ['an issuing CA that has ended', [ROOT, { ...ISSUING, not_after: at(-1) }], ['ok', 'fail']],
  ['an issuing CA late in its life', [ROOT, { ...ISSUING, not_after: at(DAY_MS) }], ['ok', 'warn']],
  [
    'a tainted one that signs until its successor does',
    [{ ...ROOT, state: 'tainted' }, ISSUING],
    ['warn', 'ok'],
  ],
  ['a tainted one beside', [ROOT, ISSUING, { ...ROOT, state: 'tainted' }], ['ok', 'ok', 'warn']],
  [
    'a draining one that has ended',
    [ROOT, ISSUING, { ...ROOT, state: 'draining', not_after: at(-1) }],
    ['ok', 'ok', 'ok'],
  ],
  [
    'retired and prepared ones, which are not in use',
    [ROOT, ISSUING, { ...ROOT, state: 'retired' }, { ...ROOT, state: 'prepared' }],
    ['ok', 'ok'],
  ],
] as const)
  test(`authorities with ${title}: ${expected.join(', ')}`, (t) => {
    t.deepEqual(levels(diagnoseAuthorities(authorities, NOW)), [...expected]);
  });

const HELD: ProxyResourceBody = {
  name: 'default',
  version_kept: null,
  version_sent: '2',
  sent_at: at(-DAY_MS),
  version_acknowledged: '2',
  acknowledged_at: at(-DAY_MS),
  version_observed: null,
  observed_at: null,
  last_error: null,
  expires_at: at(1000),
};
const PROXY: ProxyBody = {
  id: '1',
  state: 'current',
  protocol: 'sds',
  instance: 'container:1',
  connected_at: at(-DAY_MS),
  node_id: 'envoy-1',
  node_cluster: null,
  user_agent: null,
  identities: [],
  resources: [HELD],
  waiting: [],
};

test('what is not on record is a warning each, and one with what to do', (t) => {
  t.deepEqual(levels(diagnoseRecords({ items: [], count: 0 })), ['ok']);
  const item = { instance: 'container:1', node_id: 'envoy-1', resource: 'default', version: 'a'.repeat(32) };
  const findings = diagnoseRecords({ items: Array(50).fill(item), count: 50 });
  t.is(findings.length, 11);
  t.true(findings.every(({ level }) => level === 'warn'));
  t.regex(findings[0]?.detail ?? '', /^envoy-1 has or had default a{32}, not on record$/);
  t.regex(findings.at(-1)?.advice ?? '', /backup/);
});

test('of a lost trust bundle it is told what comes back with it, and what to run', (t) => {
  const bundle = {
    instance: 'container:1',
    node_id: null,
    resource: 'ROOTCA',
    version: '1795414205-9f367db35f18',
  };
  const findings = diagnoseRecords({ items: [bundle], count: 1 });
  t.deepEqual(levels(findings), ['warn', 'warn', 'warn']);
  t.regex(findings.at(-1)?.detail ?? '', /old key/);
  t.regex(findings.at(-1)?.advice ?? '', /carnet root taint .* carnet root rotate /);
});

const PROXIES: [title: string, proxy: ProxyBody, expected: Finding['level'][]][] = [
  ['holds all', PROXY, ['ok']],
  ['waits', { ...PROXY, waiting: ['x'] }, ['warn']],
  ['holds what has ended', { ...PROXY, resources: [{ ...HELD, expires_at: at(0) }] }, ['fail']],
  [
    'has refused',
    {
      ...PROXY,
      resources: [
        { ...HELD, version_acknowledged: '1', last_error: { version: '2', message: 'no', at: at(0) } },
      ],
    },
    ['fail'],
  ],
  ['acknowledges late', { ...PROXY, resources: [{ ...HELD, version_acknowledged: '1' }] }, ['warn']],
  [
    'cannot acknowledge (Workload API)',
    { ...PROXY, protocol: 'workload-api', resources: [{ ...HELD, version_acknowledged: null }] },
    ['ok'],
  ],
  [
    'was sent something just now',
    { ...PROXY, resources: [{ ...HELD, version_acknowledged: null, sent_at: at(-1000) }] },
    ['ok'],
  ],
];

for (const [title, proxy, expected] of PROXIES)
  test(`a proxy that ${title}: ${expected.join(', ')}`, (t) => {
    t.deepEqual(levels(diagnoseProxies([proxy], NOW)), expected);
  });

test('of many proxies in trouble ten are named and the others counted', (t) => {
  const findings = diagnoseProxies(Array<ProxyBody>(50).fill({ ...PROXY, waiting: ['x'] }), NOW);
  t.is(findings.length, 11);
  t.is(findings.at(-1)?.detail, 'and 40 more findings');
});

const WITNESS = {
  id: 'witness.example/w1+aa4a09d1',
  verifier_key: '',
  url: 'https://witness.example',
  size: 3,
  cosigned_at: at(-5000),
  behind_since: null,
  problem: null,
};
const LOG = {
  origin: 'carnet.local/log',
  verifier_key: '',
  size: 3,
  root: null,
  waiting_since: null,
  published_size: 3,
  witness_quorum: 0,
  witnesses: [],
};

for (const [what, waitingSince, level] of [
  ['nothing', null, 'ok'],
  ['a record of a moment ago', at(-2000), 'ok'],
  ['a record of half a minute ago', at(-30_000), 'fail'],
] as const)
  test(`a log for which ${what} waits is ${level}`, (t) => {
    t.is(diagnoseLog({ ...LOG, waiting_since: waitingSince }, NOW).level, level);
  });

for (const [what, fields, level] of [
  ['that cosigned the latest checkpoint', {}, 'ok'],
  ['that is a round behind', { behind_since: at(-60_000) }, 'ok'],
  ['that is minutes behind', { behind_since: at(-180_000) }, 'warn'],
  ['that failed just now', { problem: { code: 'unreachable', reason: 'x', since: at(-1000) } }, 'ok'],
  ['that knows more than there is', { problem: { code: 'ahead', reason: 'x', since: at(-1000) } }, 'fail'],
  ['that knows of a fork', { problem: { code: 'forked', reason: 'x', since: at(-1000) } }, 'fail'],
] as const)
  test(`a witness ${what} is ${level}`, (t) => {
    const [finding, ...rest] = diagnoseWitnesses({ ...LOG, witnesses: [{ ...WITNESS, ...fields }] }, NOW);
    t.is(finding?.level, level);
    t.deepEqual(rest, []);
  });

test('too few witnesses for the quorum fail, and the doctor says how far the log is published', (t) => {
  const late = { ...WITNESS, behind_since: at(-180_000) };
  const body = { ...LOG, published_size: 2, witness_quorum: 2, witnesses: [WITNESS, late] };
  const findings = diagnoseWitnesses(body, NOW);
  t.deepEqual(levels(findings), ['ok', 'warn', 'fail']);
  t.regex(findings.at(-1)?.detail ?? '', /2 of 3 entries/);
  t.deepEqual(levels(diagnoseWitnesses({ ...body, witness_quorum: 1 }, NOW)), ['ok', 'warn']);
});

for (const [what, fields, level] of [
  ['takes what comes', { lag_entries: 40, lag_seconds: 2 }, 'ok'],
  ['failed just now', { lag_entries: 40, lag_seconds: 2, problem: 'it answers 500' }, 'ok'],
  ['takes too little', { lag_entries: 40_000, lag_seconds: 600 }, 'warn'],
  ['has been away for long', { lag_entries: 40, lag_seconds: 600, problem: 'it answers 500' }, 'fail'],
] as [string, Partial<SinkBody>, Finding['level']][])
  test(`a sink that ${what} is ${level}`, (t) => {
    const state = { failures: 0, failing_since: null, problem: null, acknowledged_at: null };
    const sink = { name: 'webhook', target: 'https://siem', position: 5, lag_entries: 0, lag_seconds: 0 };
    const [found] = diagnoseSinks([{ ...sink, ...state, ...fields }]);
    t.is(found?.level, level);
    if (level === 'fail') t.regex(found?.advice ?? '', /entry 5 /);
  });
