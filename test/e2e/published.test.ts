import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { oncePerPort } from '../support/mesh.ts';
import { startPair } from '../support/pair.ts';
import { openssl } from '../x509/openssl.ts';

const PUBLIC_URL = 'http://pki.carnet.test/carnet';

test('with --public-url OpenSSL finds issuers and CRLs by what certificates say, and Envoys accept them', async (t) => {
  t.timeout(120_000);
  await using carnet = await startCarnet(['--log-level', 'warn', '--public-url', `${PUBLIC_URL}/`]);
  const pair = await startPair({
    agentSocket: carnet.agentSocket,
    apiType: 'GRPC',
    trustDomain: 'carnet.local',
    register: (entry) => carnet.call('POST', '/v1/entries', entry),
  });
  const load = startLoad([pair.port], 20);
  const directory = await mkdtemp(join(tmpdir(), 'carnet-published-'));
  try {
    await oncePerPort(load, [pair.port]);
    await assertNoneFailed(t, load);

    const leaf = await leafOf(carnet, 'spiffe://carnet.local/pair/server');
    const issuing = await published(carnet, leaf, 'authorityInfoAccess');
    const root = await published(carnet, issuing, 'authorityInfoAccess');
    t.true(new X509Certificate(leaf).checkIssued(new X509Certificate(issuing)));
    t.true(new X509Certificate(issuing).checkIssued(new X509Certificate(root)));
    t.is(parseCertificate(root).crlDistributionPoints, undefined, 'a root says nothing of an issuer');

    const verify = async () => {
      const crls = await Promise.all(
        [leaf, issuing].map((der) => published(carnet, der, 'crlDistributionPoints')),
      );
      const files = {
        leaf: encodePem('CERTIFICATE', leaf),
        issuing: encodePem('CERTIFICATE', issuing),
        root: encodePem('CERTIFICATE', root),
        crls: crls.map((der) => encodePem('X509 CRL', der)).join(''),
      };
      const path = (name: string) => join(directory, name);
      await Promise.all(Object.entries(files).map(([name, text]) => writeFile(path(name), text)));
      return openssl([
        ...['verify', '-x509_strict', '-crl_check_all', '-CRLfile', path('crls')],
        ...['-CAfile', path('root'), '-untrusted', path('issuing'), path('leaf')],
      ]);
    };
    const good = await verify();
    t.true(good.stdout.endsWith('leaf: OK\n'), good.stderr);
    const { serialNumber } = new X509Certificate(leaf);
    const { code, stderr } = await carnet.cli(
      'revoke',
      '--serial',
      serialNumber.toLowerCase().padStart(32, '0'),
      '--reason',
      'test',
      '--yes',
    );
    t.is(code, 0, stderr);
    t.regex((await verify()).stderr, /certificate revoked/);
  } finally {
    await load.stop();
    await pair.stop();
    await rm(directory, { recursive: true });
  }
});

async function leafOf(carnet: CarnetProcess, identity: string): Promise<Uint8Array> {
  const { items } = (await carnet.call('GET', `/v1/issuances?identity=${encodeURIComponent(identity)}`)) as {
    items: { serial: string }[];
  };
  const { certificate } = (await carnet.call('GET', `/v1/issuances/${items[0]?.serial}`)) as {
    certificate: string;
  };
  return new X509Certificate(certificate).raw;
}

/** What a certificate says is there, by way of the reverse proxy that its public name would lead to. */
async function published(
  carnet: CarnetProcess,
  der: Uint8Array,
  extension: 'authorityInfoAccess' | 'crlDistributionPoints',
): Promise<Uint8Array> {
  const [url = ''] = parseCertificate(der)[extension]?.value.uris ?? [];
  const response = await fetch(url.replace(PUBLIC_URL, carnet.url));
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.bytes();
}
