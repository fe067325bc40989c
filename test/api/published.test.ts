import test from 'ava';
import { call, makeAuthority, startApi } from './harness.ts';

test('CRLs and CA certificates are DER, without a token, and may be kept for a while', async (t) => {
  const api = await startApi(t);
  const authority = await makeAuthority();
  api.authorities.push(authority);
  for (const [path, type, seconds, expected] of [
    ['/crl/root-01020304.crl', 'application/pkix-crl', 60, Uint8Array.of(0x30, 0)],
    ['/ca/root-01020304.cer', 'application/pkix-cert', 86_400, authority.certificate],
  ] as const) {
    const response = await fetch(api.url + path);
    t.is(response.status, 200);
    t.is(response.headers.get('content-type'), type);
    t.is(response.headers.get('cache-control'), `public, max-age=${seconds}`);
    t.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.from(expected));
  }
});

test('whoever has the latest CRL is told so (RFC 9110 §13.1.2)', async (t) => {
  const api = await startApi(t);
  const { headers } = await call(api, 'GET', '/crl/root-01020304.crl', { as: 'none' });
  const etag = headers.get('etag') ?? '';
  t.regex(etag, /^"[0-9a-f]{32}"$/);
  // Of itself fetch would ask for no cached answer.
  const get = (known: string) =>
    fetch(`${api.url}/crl/root-01020304.crl`, {
      headers: { 'if-none-match': known, 'cache-control': 'max-age=0' },
    });
  t.is((await get(etag)).status, 304);
  t.is((await get('"other"')).status, 200);
});

test('what is secret or changes is kept by no cache, nor is a refusal', async (t) => {
  const api = await startApi(t);
  for (const path of ['/v1/issuances', '/v1/bundle', '/crl/none.crl', '/ca/none.cer']) {
    const { headers } = await call(api, 'GET', path);
    t.is(headers.get('cache-control'), 'no-store', path);
  }
});
