import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { type Caller, PeerCheck, readPeer } from '../../../src/agent/server/peer.ts';
import { nextCrl } from '../../../src/ca/crl.ts';
import { createIssue } from '../../../src/ca/issue.ts';
import { CarnetError } from '../../../src/errors.ts';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.ts';
import { parseCertificate } from '../../../src/x509/certificate.ts';
import { sequence, TRUE } from '../../../src/x509/der-writer.ts';
import { serialHex } from '../../../src/x509/serial.ts';
import { createAuthorities, issueRequest } from '../../ca/authorities.ts';
import { dns, leafWith, SPIFFE_ID, uri } from '../../x509/certificates.ts';
import { generateKeys } from '../../x509/keys.ts';

const TRUST_DOMAIN = parseTrustDomain('carnet.test');
const REFUSED = { instanceOf: CarnetError, code: 'unauthenticated' };

function shown(leaf: Uint8Array, fields: Partial<TLSSocket> = {}): TLSSocket {
  const certificate = new X509Certificate(leaf);
  return { authorized: true, getPeerX509Certificate: () => certificate, ...fields } as unknown as TLSSocket;
}

function callerOf(socket: TLSSocket): Caller {
  const { caller } = readPeer(socket, '192.0.2.1', TRUST_DOMAIN);
  if (caller instanceof CarnetError) throw caller;
  return caller;
}

const names = (...parts: Uint8Array[]) => ({
  extensions: { subjectAltName: [true, sequence(...parts)] as const },
});

test('a leaf is known by its one SPIFFE ID, and an agent’s by its node', (t) => {
  t.like(callerOf(shown(leafWith())), { kind: 'svid', spiffeId: SPIFFE_ID });
  const agent = leafWith(names(uri('spiffe://carnet.test/carnet/agent/node-1')));
  t.like(callerOf(shown(agent)), { kind: 'agent', node: 'node-1' });
});

for (const [claim, leaf] of [
  ['without a URI name', leafWith(names(dns('web.internal')))],
  ['with two URI names', leafWith(names(uri(SPIFFE_ID), uri(SPIFFE_ID)))],
  ['whose URI name is no SPIFFE ID', leafWith(names(uri('https://carnet.test/web')))],
  ["of another trust domain's agent", leafWith(names(uri('spiffe://other.test/carnet/agent/node-1')))],
  ['that is a CA', leafWith({ extensions: { basicConstraints: [true, sequence(TRUE)] } })],
] as const)
  test(`a certificate ${claim} makes nobody a caller (X509-SVID §5.2)`, (t) => {
    t.throws(() => callerOf(shown(leaf)), REFUSED);
  });

test('what Node did not verify makes nobody a caller', (t) => {
  t.throws(() => callerOf(shown(leafWith(), { authorized: false })), REFUSED);
});

test('a caller is heard while its certificate lasts, its root is trusted, and neither it nor its issuer is revoked', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  const other = await createAuthorities('ec-p256');
  const issue = createIssue({
    activeAuthority: () => issuing.signing,
    recorder: { record: async () => undefined },
    clock: Date.now,
    defaultTtlSeconds: 3600,
    backdateSeconds: 0,
  });
  const { chain, serial, notAfter } = await issue(issueRequest(generateKeys('ec-p256'), 'ec-p256'));
  const peer = readPeer(shown(chain[0] ?? new Uint8Array()), '192.0.2.1', TRUST_DOMAIN);
  const authorities = [root.signing, issuing.signing, other.root.signing, other.issuing.signing];
  const check = (at: number, roots = [root], crls: readonly Uint8Array[] = []) =>
    new PeerCheck(
      {
        ...{ trustDomain: TRUST_DOMAIN, sequence: 1, x509Sequence: 1, jwtAuthorities: [] },
        ...{ x509Authorities: roots.map(({ signing }) => signing.certificate), crls },
      },
      authorities,
      () => at,
    ).callerOf(peer);
  const crlOf = async ({ signing }: typeof root, revoked: string) => {
    const entry = { serial: revoked, revokedAt: new Date(), reason: 'keyCompromise' } as const;
    return (await nextCrl(signing, null, [entry], Date.now(), 0)).crl;
  };
  const now = Date.now();
  t.like(check(now), { serial });
  t.like(check(notAfter.getTime() - 1), { serial });
  t.throws(() => check(notAfter.getTime()), REFUSED);
  t.throws(() => check(now, [other.root]), { ...REFUSED, message: /root is trusted no more/ });
  const ofLeaf = await crlOf(issuing, serial);
  const ofIssuer = await crlOf(root, serialHex(parseCertificate(issuing.signing.certificate).serial));
  for (const crl of [ofLeaf, ofIssuer])
    t.throws(() => check(now, [root], [crl]), { ...REFUSED, message: /is revoked/ });
});
