import test from 'ava';
import fc from 'fast-check';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';

const DOMAIN = parseTrustDomain('carnet.local');
const GOOD = {
  id: 'web',
  spiffe_id: '/web',
  selectors: ['unix:uid:1000'],
  dns_names: ['web.internal'],
  ttl: '1h',
};

test("parses the contract's example", (t) => {
  t.deepEqual(parseEntry(GOOD, DOMAIN) as unknown, {
    id: 'web',
    spiffeId: 'spiffe://carnet.local/web',
    selectors: ['unix:uid:1000'],
    dnsNames: ['web.internal'],
    ttlSeconds: 3600,
    hint: null,
    federatesWith: [],
  });
});

test('parses an entry of an ID and selectors alone', (t) => {
  t.deepEqual(parseEntry({ spiffe_id: '/web', selectors: ['unix:uid:0'] }, DOMAIN) as unknown, {
    id: null,
    spiffeId: 'spiffe://carnet.local/web',
    selectors: ['unix:uid:0'],
    dnsNames: [],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
  });
});

for (const [claim, change, expected] of [
  ['a whole ID', { spiffe_id: 'spiffe://carnet.local/a/b' }, { spiffeId: 'spiffe://carnet.local/a/b' }],
  [
    'a path that only begins like our own',
    { spiffe_id: '/carnet-x' },
    { spiffeId: 'spiffe://carnet.local/carnet-x' },
  ],
  ['a placeholder by key', { spiffe_id: '/u/{uid}' }, { spiffeId: 'spiffe://carnet.local/u/{uid}' }],
  [
    'placeholders by type and key, with text around them',
    { spiffe_id: '/u-{unix:uid}/c.{container:id}' },
    { spiffeId: 'spiffe://carnet.local/u-{unix:uid}/c.{container:id}' },
  ],
  [
    'a placeholder with a slash in its key',
    { spiffe_id: '/{k8s:pod-label:app.kubernetes.io/name}' },
    { spiffeId: 'spiffe://carnet.local/{k8s:pod-label:app.kubernetes.io/name}' },
  ],
  [
    'selectors sorted and without repeats',
    { selectors: ['unix:uid:2', 'unix:gid:1', 'unix:uid:2'] },
    { selectors: ['unix:gid:1', 'unix:uid:2'] },
  ],
  [
    'DNS names in lower case, in their order, without repeats',
    { dns_names: ['Web.Internal', 'a', 'web.internal', 'xn--bcher-kva.example'] },
    { dnsNames: ['web.internal', 'a', 'xn--bcher-kva.example'] },
  ],
  ['the shortest lifetime', { ttl: '5s' }, { ttlSeconds: 5 }],
  ['the longest lifetime', { ttl: '30d' }, { ttlSeconds: 2_592_000 }],
  [
    'trust domains sorted and without repeats',
    { federates_with: ['b.test', 'a.test', 'b.test'] },
    { federatesWith: ['a.test', 'b.test'] },
  ],
  ['a hint of 256 bytes', { hint: 'ä'.repeat(128) }, { hint: 'ä'.repeat(128) }],
  ['an ID of 128 characters', { id: 'a'.repeat(128) }, { id: 'a'.repeat(128) }],
] as const)
  test(`accepts ${claim}`, (t) => {
    t.like(parseEntry({ ...GOOD, ...change }, DOMAIN) as object, expected);
  });

for (const [claim, change, named] of [
  ['an unknown field', { selector: ['unix:uid:1'] }, '"selector"'],
  ['an ID that is no text', { id: 7 }, 'id 7'],
  ['an empty ID', { id: '' }, 'id ""'],
  ['an ID of 129 characters', { id: 'a'.repeat(129) }, 'id "aaa'],
  ['an ID with a slash', { id: 'a/b' }, 'id "a/b"'],
  ['an ID that begins with a dot', { id: '..' }, 'id ".."'],
  ['no SPIFFE ID', { spiffe_id: undefined }, 'spiffe_id is missing'],
  ['a SPIFFE ID that is no text', { spiffe_id: ['/web'] }, 'spiffe_id ["/web"]'],
  ['a SPIFFE ID without a path', { spiffe_id: 'spiffe://carnet.local' }, 'spiffe_id "spiffe://carnet.local"'],
  ['a path of a slash alone', { spiffe_id: '/' }, 'spiffe_id "/"'],
  ['a path without its slash', { spiffe_id: 'web' }, 'spiffe_id "web"'],
  ['another trust domain', { spiffe_id: 'spiffe://other/web' }, 'spiffe_id "spiffe://other/web"'],
  ['a trust domain that ours begins', { spiffe_id: 'spiffe://carnet.local.evil/web' }, 'carnet.local.evil'],
  ['a placeholder as trust domain', { spiffe_id: 'spiffe://{uid}/web' }, 'spiffe_id'],
  ['a placeholder in the trust domain', { spiffe_id: 'spiffe://carnet.local{uid}/web' }, 'spiffe_id'],
  ['the path of Carnet itself', { spiffe_id: '/carnet' }, 'spiffe_id "/carnet"'],
  ['a path under it', { spiffe_id: 'spiffe://carnet.local/carnet/agent/{uid}' }, 'under /carnet'],
  ['a bad character in the path', { spiffe_id: '/we b' }, 'spiffe_id "/we b"'],
  ['a trailing slash after a placeholder', { spiffe_id: '/{uid}/' }, 'spiffe_id'],
  ['an empty placeholder', { spiffe_id: '/{}' }, 'spiffe_id'],
  ['an open placeholder', { spiffe_id: '/{uid' }, 'spiffe_id'],
  ['a nested placeholder', { spiffe_id: '/{{uid}}' }, 'spiffe_id'],
  ['two placeholders in a segment', { spiffe_id: '/{user}-{group}' }, 'one placeholder'],
  ['a template of 2049 bytes', { spiffe_id: `/{uid}${'a'.repeat(2049 - 26)}` }, '2048 bytes'],
  ['no selectors', { selectors: undefined }, 'selectors is missing'],
  ['an empty list of selectors', { selectors: [] }, 'selectors is empty'],
  ['selectors that are no list', { selectors: 'unix:uid:1' }, 'selectors "unix:uid:1"'],
  ['a selector that is no text', { selectors: ['unix:uid:1', 2] }, 'selectors[1] 2'],
  ['a malformed selector', { selectors: ['uid=1'] }, 'selectors[0]: "uid=1"'],
  ['a kind that attestation does not show', { selectors: ['unix:pid:1'] }, 'selectors[0] "unix:pid:1"'],
  ['a user where a number is meant', { selectors: ['unix:uid:ada'] }, 'unix:uid must be a number'],
  ['a number with a leading zero', { selectors: ['unix:gid:01'] }, 'unix:gid must be a number'],
  ['a relative path', { selectors: ['unix:path:envoy'] }, 'an absolute path'],
  ['a digest in upper case', { selectors: [`unix:sha256:${'A'.repeat(64)}`] }, 'lower-case'],
  ['33 selectors', { selectors: Array.from({ length: 33 }, (_, i) => `unix:uid:${i}`) }, '33 items'],
  ['DNS names that are no list', { dns_names: 'web' }, 'dns_names "web"'],
  ['33 DNS names', { dns_names: Array.from({ length: 33 }, (_, i) => `n${i}`) }, '33 items'],
  ['a wildcard', { dns_names: ['a', '*.internal'] }, 'dns_names[1] "*.internal"'],
  ['an empty DNS name', { dns_names: [''] }, 'dns_names[0] ""'],
  ['an empty label (RFC 1123 §2.1)', { dns_names: ['a..b'] }, 'dns_names[0]'],
  ['a last dot (RFC 5280 §4.2.1.6)', { dns_names: ['web.internal.'] }, 'dns_names[0]'],
  ['a label with a leading dash (RFC 1123 §2.1)', { dns_names: ['-a.b'] }, 'dns_names[0]'],
  ['a label with a trailing dash (RFC 1123 §2.1)', { dns_names: ['a-.b'] }, 'dns_names[0]'],
  ['an underscore (RFC 1123 §2.1)', { dns_names: ['_a.b'] }, 'dns_names[0]'],
  ['a label of 64 (RFC 1123 §2.1)', { dns_names: ['a'.repeat(64)] }, 'dns_names[0]'],
  ['a name of 254 (RFC 1034 §3.1)', { dns_names: [`${'a.'.repeat(126)}ab`] }, '253 bytes'],
  ['another script (RFC 5280 §7.2)', { dns_names: ['bücher.example'] }, 'xn--'],
  ['the Kelvin sign, which lower-cases to k', { dns_names: ['\u212a.example'] }, 'dns_names[0]'],
  ['an IPv4 address', { dns_names: ['10.0.0.1'] }, 'IP address'],
  ['an IPv6 address', { dns_names: ['::1'] }, 'dns_names[0]'],
  ['a lifetime that is no duration', { ttl: '1 hour' }, 'ttl: "1 hour"'],
  ['a lifetime that is a number', { ttl: 3600 }, 'ttl 3600'],
  ['a lifetime of 4 seconds', { ttl: '4s' }, 'ttl "4s"'],
  ['a lifetime of 31 days', { ttl: '31d' }, 'ttl "31d"'],
  ['our own trust domain to federate with', { federates_with: ['a.test', 'carnet.local'] }, 'carnet.local'],
  ['what is no trust domain to federate with', { federates_with: ['a.test', 'B.test'] }, 'federates_with[1]'],
  ['a SPIFFE ID to federate with', { federates_with: ['spiffe://a.test'] }, 'federates_with[0]'],
  [
    'more than 32 trust domains to federate with',
    { federates_with: Array.from({ length: 33 }, (_, i) => `td${i}`) },
    'federates_with',
  ],
  ['an empty hint', { hint: '' }, 'hint ""'],
  ['a hint of 257 bytes', { hint: `${'ä'.repeat(128)}a` }, 'hint "ä'],
  ['a hint that breaks a line', { hint: 'in\nout' }, 'hint "in\\nout"'],
] as const)
  test(`refuses ${claim}, and names it`, (t) => {
    const error = t.throws(() => parseEntry({ ...GOOD, ...change }, DOMAIN), { code: 'entry_invalid' });
    t.true(error.message.includes(named), error.message);
  });

for (const input of [undefined, null, 'web', 7, [GOOD]])
  test(`refuses ${JSON.stringify(input)?.slice(0, 20)} for an entry`, (t) => {
    t.throws(() => parseEntry(input, DOMAIN), { code: 'entry_invalid' });
  });

test('a trust domain named x is not confused with a placeholder', (t) => {
  const input = { ...GOOD, spiffe_id: 'spiffe://{uid}/web' };
  t.throws(() => parseEntry(input, parseTrustDomain('x')), { code: 'entry_invalid' });
});

test('anything at all is parsed or refused with entry_invalid, and what is parsed parses to itself', (t) => {
  const field = fc.oneof(
    fc.anything(),
    fc.array(fc.constantFrom('unix:uid:1', 'a:b:c', 'web.internal', '*', '', 'x'), { maxLength: 3 }),
    fc.constantFrom('/web', '/{uid}', '/{a}/{b}', '1h', '5s', 'web'),
  );
  const entry = fc.record(
    {
      id: field,
      spiffe_id: field,
      selectors: field,
      dns_names: field,
      ttl: field,
      hint: field,
      federates_with: field,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(entry, (input) => {
      let parsed: ReturnType<typeof parseEntry>;
      try {
        parsed = parseEntry(input, DOMAIN);
      } catch (error) {
        t.is((error as { code?: string }).code, 'entry_invalid');
        return;
      }
      const again = {
        ...(parsed.id === null ? {} : { id: parsed.id }),
        spiffe_id: parsed.spiffeId,
        selectors: parsed.selectors,
        dns_names: parsed.dnsNames,
        ...(parsed.ttlSeconds === null ? {} : { ttl: `${parsed.ttlSeconds}s` }),
        ...(parsed.hint === null ? {} : { hint: parsed.hint }),
        federates_with: parsed.federatesWith,
      };
      t.deepEqual(parseEntry(again, DOMAIN), parsed);
    }),
    { numRuns: 1000 },
  );
});
