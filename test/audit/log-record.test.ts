import test from 'ava';
import { encodeLogRecord } from '../../src/audit/log-record.ts';

const ENTRY = {
  leafIndex: 7,
  leafHash: new Uint8Array(32).fill(0xab),
  recordedAtMicros: 1_772_323_200_123_456n,
};
const HEAD = `{"leaf_index":7,"leaf_hash":"${'ab'.repeat(32)}"`;

test('a line is ASCII, on one line, and says the same again when it is parsed', (t) => {
  const subject = 'wéb\n\u0085\u2028😀';
  const event = {
    actor: 'operator:a',
    action: 'entry.create',
    subject,
    before: null,
    after: { a: 1 },
    reason: '',
  };
  const line = encodeLogRecord({ ...ENTRY, kind: 'operator_event', row: event });
  t.regex(line, /^[\x20-\x7e]+$/);
  t.true(line.startsWith(`${HEAD},"kind":"operator_event","recorded_at":"2026-03-01T00:00:00.123456Z",`));
  t.like(JSON.parse(line), { actor: 'operator:a', subject, before: null, after: { a: 1 } });
});

test('an issuance is told without its certificate and evidence, byte strings in hex', (t) => {
  const row = {
    serial: '0a'.repeat(16),
    profile: 'x509-svid',
    identity: 'spiffe://carnet.local/web',
    dnsNames: ['web.internal'],
    notBefore: new Date(0),
    notAfter: new Date(1000),
    authority: 'issuing-1',
    publicKeySha256: Uint8Array.of(1),
    certificateSha256: Uint8Array.of(2),
    node: null,
    instance: null,
    entryId: 'web',
    entryVersion: 3,
    requester: 'agent:n',
  };
  t.deepEqual(JSON.parse(encodeLogRecord({ ...ENTRY, kind: 'issuance', row })), {
    leaf_index: 7,
    leaf_hash: 'ab'.repeat(32),
    kind: 'issuance',
    recorded_at: '2026-03-01T00:00:00.123456Z',
    serial: '0a'.repeat(16),
    identity: 'spiffe://carnet.local/web',
    dns_names: ['web.internal'],
    profile: 'x509-svid',
    not_before: '1970-01-01T00:00:00.000Z',
    not_after: '1970-01-01T00:00:01.000Z',
    authority: 'issuing-1',
    node: null,
    instance: null,
    entry: 'web',
    entry_version: 3,
    requester: 'agent:n',
    public_key_sha256: '01',
    certificate_sha256: '02',
  });
});

test('an entry whose row is gone is told as such, not passed over', (t) => {
  const line = encodeLogRecord({ ...ENTRY, kind: 'revocation', row: null });
  t.is(line, `${HEAD},"kind":"revocation","recorded_at":"2026-03-01T00:00:00.123456Z","missing":true}`);
});
