import test from 'ava';
import { parseEndpoint } from '../../src/federation/parse-endpoint.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';

const TD = parseTrustDomain('b.test');
const WEB = { profile: 'https_web', url: 'https://b.test/bundle', spiffeId: null } as const;
const SPIFFE = {
  profile: 'https_spiffe',
  url: 'https://10.0.0.1:8444/',
  spiffeId: 'spiffe://b.test/carnet/server',
} as const;

test('parses both profiles (SPIFFE Federation §5.2)', (t) => {
  t.deepEqual(parseEndpoint(WEB, TD), { profile: 'https_web', url: WEB.url });
  t.deepEqual(parseEndpoint(SPIFFE, TD) as object, SPIFFE);
});

for (const [why, input] of [
  ['not by TLS (§5.2.1.1)', { ...WEB, url: 'http://b.test/' }],
  ['with a password (§5.2.1.1)', { ...WEB, url: 'https://me:secret@b.test/' }],
  ['with a user name (§5.2.2.1)', { ...SPIFFE, url: 'https://me@b.test/' }],
  ['that is no URL', { ...WEB, url: 'b.test' }],
  ['too long to be meant', { ...WEB, url: `https://b.test/${'a'.repeat(2048)}` }],
  ['of https_web with a SPIFFE ID', { ...WEB, spiffeId: SPIFFE.spiffeId }],
  ['of https_spiffe without its SPIFFE ID (§5.2.2.2)', { ...SPIFFE, spiffeId: null }],
  ["of https_spiffe with another trust domain's ID", { ...SPIFFE, spiffeId: 'spiffe://c.test/server' }],
  ['of https_spiffe with an ID without a path', { ...SPIFFE, spiffeId: 'spiffe://b.test' }],
] as const)
  test(`refuses an endpoint ${why}`, (t) => {
    const error = t.throws(() => parseEndpoint(input, TD), { code: 'invalid_argument' });
    t.notRegex(error?.message ?? '', /\n/);
  });
