import test from 'ava';
import fc from 'fast-check';
import {
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  spiffeIdOf,
  trustDomainOf,
} from '../../src/identity/spiffe-id.ts';

const INVALID = { code: 'spiffe_id_invalid' };

for (const [text, domain, path] of [
  ['spiffe://carnet.local', 'carnet.local', ''],
  ['spiffe://carnet.local/web', 'carnet.local', '/web'],
  ['spiffe://k8s-west.example.com/ns/staging/sa/default', 'k8s-west.example.com', '/ns/staging/sa/default'],
  [
    'spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453',
    'example.com',
    '/9eebccd2-12bf-40a6-b262-65fe0487d453',
  ],
  ['spiffe://10.0.0.1/web', '10.0.0.1', '/web'],
  ['spiffe://under_score/web', 'under_score', '/web'],
  ['spiffe://-.-/web', '-.-', '/web'],
  ['spiffe://td/...', 'td', '/...'],
  ['spiffe://td/A.b-C_d', 'td', '/A.b-C_d'],
] as const)
  test(`accepts ${text} (SPIFFE-ID §2)`, (t) => {
    const id = parseSpiffeId(text);
    t.is(trustDomainOf(id), domain as never);
    t.is(pathOf(id), path);
    t.is(spiffeIdOf(trustDomainOf(id), pathOf(id)), id);
  });

for (const [claim, text] of [
  ['an empty text', ''],
  ['another scheme (§2)', 'https://td/web'],
  ['an upper-case scheme (§2.1, one spelling only)', 'SPIFFE://td/web'],
  ['a scheme without slashes (§2)', 'spiffe:td/web'],
  ['a leading space', ' spiffe://td/web'],
  ['no trust domain (§2.1)', 'spiffe://'],
  ['no trust domain before a path (§2.1)', 'spiffe:///web'],
  ['an upper-case trust domain (§2.1)', 'spiffe://Td/web'],
  ['user information (§2.1)', 'spiffe://me@td/web'],
  ['empty user information (§2.1)', 'spiffe://@td/web'],
  ['a password (§2.1)', 'spiffe://me:secret@td/web'],
  ['a port (§2.1)', 'spiffe://td:443/web'],
  ['an empty port (§2.1)', 'spiffe://td:/web'],
  ['an IPv6 address (§2.1)', 'spiffe://[::1]/web'],
  ['percent-encoding in the trust domain (§2.1)', 'spiffe://t%64/web'],
  ['a trust domain that is not ASCII (§2.1)', 'spiffe://tḍ/web'],
  ['a query (§2)', 'spiffe://td/web?x=1'],
  ['an empty query (§2)', 'spiffe://td/web?'],
  ['a query without a path (§2)', 'spiffe://td?x'],
  ['a fragment (§2)', 'spiffe://td/web#x'],
  ['an empty fragment (§2)', 'spiffe://td/web#'],
  ['a path of a slash alone (§2.2)', 'spiffe://td/'],
  ['a trailing slash (§2.2)', 'spiffe://td/web/'],
  ['an empty segment (§2.2)', 'spiffe://td/a//b'],
  ['the segment . (§2.2)', 'spiffe://td/a/./b'],
  ['the segment .. (§2.2)', 'spiffe://td/a/..'],
  ['percent-encoding in the path (§2.2)', 'spiffe://td/we%62'],
  ['a space in the path (§2.2)', 'spiffe://td/we b'],
  ['a backslash in the path (§2.2)', 'spiffe://td/a\\b'],
  ['a colon in the path (§2.2)', 'spiffe://td/a:b'],
  ['a placeholder', 'spiffe://td/{uid}'],
  ['a trailing line break', 'spiffe://td/web\n'],
  ['a NUL byte', 'spiffe://td/web\0'],
  ['a letter outside of ASCII (§2.2)', 'spiffe://td/wéb'],
  ['a full-width letter (§2.2)', 'spiffe://td/ｗeb'],
] as const)
  test(`refuses ${claim}: ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseSpiffeId(text), INVALID);
  });

test('accepts 2048 bytes and refuses 2049 (§2.3)', (t) => {
  const id = `spiffe://td/${'a'.repeat(2048 - 'spiffe://td/'.length)}`;
  t.is(parseSpiffeId(id).length, 2048);
  t.throws(() => parseSpiffeId(`${id}a`), INVALID);
});

test('accepts a trust domain of 255 bytes and refuses 256 (§2.3)', (t) => {
  t.is(parseTrustDomain('a'.repeat(255)).length, 255);
  t.throws(() => parseTrustDomain('a'.repeat(256)), INVALID);
  t.throws(() => parseSpiffeId(`spiffe://${'a'.repeat(256)}/web`), INVALID);
});

test('an error shows at most 100 characters of the text, as JSON', (t) => {
  const error = t.throws(() => parseSpiffeId(`spiffe://td/\n${'x'.repeat(5000)}`));
  t.true(error.message.includes('\\n'));
  t.true(error.message.length < 300);
});

const segment = fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/).filter((text) => text !== '.' && text !== '..');
const domain = fc.stringMatching(/^[a-z0-9._-]{1,60}$/);

test('every trust domain and path of the alphabets join to an ID that parts into them again', (t) => {
  fc.assert(
    fc.property(domain, fc.array(segment, { maxLength: 8 }), (name, segments) => {
      const path = segments.map((one) => `/${one}`).join('');
      const id = spiffeIdOf(parseTrustDomain(name), path);
      t.is(id, `spiffe://${name}${path}` as never);
      t.is(trustDomainOf(id), name as never);
      t.is(pathOf(id), path);
    }),
  );
});

test('whatever is accepted is what a URL parser reads too: same host and path, nothing else', (t) => {
  const near = fc.array(fc.constantFrom(...'abzAZ019._-/:@?#%\\ é\n\0'), { maxLength: 24 });
  fc.assert(
    fc.property(near, (characters) => {
      const text = `spiffe://${characters.join('')}`;
      let id: ReturnType<typeof parseSpiffeId>;
      try {
        id = parseSpiffeId(text);
      } catch {
        return;
      }
      const url = new URL(id);
      t.deepEqual([url.hostname, url.pathname, url.username, url.password, url.port, url.search, url.hash], [
        trustDomainOf(id),
        pathOf(id),
        '',
        '',
        '',
        '',
        '',
      ] as never);
    }),
    { numRuns: 2000 },
  );
});

test('a character outside of the alphabets makes any ID invalid, wherever it stands', (t) => {
  const foreign = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 1 })
    .filter((c) => !/[a-zA-Z0-9._/-]/.test(c));
  fc.assert(
    fc.property(foreign, fc.nat({ max: 20 }), (character, at) => {
      const text = 'spiffe://carnet.local/ns/web';
      const position = 9 + (at % (text.length - 8));
      t.throws(() => parseSpiffeId(text.slice(0, position) + character + text.slice(position)), INVALID);
    }),
  );
});
