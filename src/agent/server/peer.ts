import type { TLSSocket } from 'node:tls';
import type { Authority } from '../../ca/authority.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import { toHex } from '../../x509/bytes.ts';
import { type Certificate, parseCertificate } from '../../x509/certificate.ts';
import { parseCrl } from '../../x509/crl.ts';
import { serialHex } from '../../x509/serial.ts';
import { nodeOfAgentId } from '../identity.ts';

/** Who is at the other end of a TLS connection, by the certificate that it proved to have the key of. */
export type Caller =
  | { readonly kind: 'none'; readonly address: string }
  | (PeerSvid & { readonly kind: 'svid' })
  | (PeerSvid & { readonly kind: 'agent'; readonly node: string });

export interface PeerSvid {
  readonly address: string;
  readonly spiffeId: SpiffeId;
  /** Lower-case hex, 32 digits. */
  readonly serial: string;
  readonly notAfter: Date;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** What a connection showed in its handshake. */
export interface Peer {
  readonly address: string;
  /** An error for what is shown but not accepted. */
  readonly caller: Caller | CarnetError;
  /** {@link issuerKey} of the leaf's issuer; empty where there is no leaf. */
  readonly issuer: string;
}

/**
 * Reads who a connection is, once its handshake is over. Node has verified the chain up to one of the roots that the
 * TLS context had then; the rest is judged here, and by {@link PeerCheck} at each call.
 */
export function readPeer(socket: TLSSocket, address: string, trustDomain: TrustDomain): Peer {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return { address, caller: { kind: 'none', address }, issuer: '' };
  try {
    if (!socket.authorized) throw unauthenticated(`it does not verify (${socket.authorizationError})`);
    const certificate = parseCertificate(leaf.raw);
    const issuer = issuerKey(certificate.issuer, certificate.authorityKeyIdentifier?.value);
    return { address, caller: callerOf(certificate, address, trustDomain), issuer };
  } catch (error) {
    if (!(error instanceof CarnetError)) throw error;
    const isOurs = error.code === 'unauthenticated';
    return {
      address,
      caller: isOurs ? error : unauthenticated(`it is no X.509-SVID: ${error.message}`),
      issuer: '',
    };
  }
}

/** X509-SVID §5.2: one URI name, a SPIFFE ID; and of our own trust domain. */
function callerOf(certificate: Certificate, address: string, trustDomain: TrustDomain): Caller {
  const { subjectAltName, basicConstraints, der, notAfter } = certificate;
  const uris = subjectAltName?.value.uris ?? [];
  if (uris.length !== 1) throw unauthenticated(`it has ${uris.length} URI names, and must have one`);
  if (basicConstraints?.value.ca === true) throw unauthenticated('it is the certificate of a CA');
  const spiffeId = parseSpiffeId(uris[0] ?? '');
  if (trustDomainOf(spiffeId) !== trustDomain)
    throw unauthenticated(`${spiffeId} is not of the trust domain ${trustDomain}`);
  const serial = serialHex(certificate.serial);
  const svid = { address, spiffeId, serial, notAfter, certificate: der };
  const node = nodeOfAgentId(spiffeId);
  return node === null ? { kind: 'svid', ...svid } : { kind: 'agent', node, ...svid };
}

/** An authority that may have signed a peer's leaf. */
export type PeerIssuer = Pick<Authority, 'id' | 'parentId' | 'certificate'>;

/**
 * What a trust bundle and the authorities say about connections, those that stand already too. Node gives a server the
 * leaf of its peer without the chain (24.21), so the leaf's issuer is looked up among our own.
 */
export class PeerCheck {
  readonly #clock: Clock;
  readonly #revoked: ReadonlySet<string>;
  /** Serials of the authorities under a trusted root, by {@link issuerKey}. */
  readonly #trusted: ReadonlyMap<string, string>;

  constructor(bundle: TrustBundle, authorities: readonly PeerIssuer[], clock: Clock) {
    this.#clock = clock;
    this.#revoked = new Set(bundle.crls.flatMap((der) => parseCrl(der).entries.map(({ serial }) => serial)));
    const roots = new Set(bundle.x509Authorities.map(toHex));
    const trusted = authorities.filter(({ parentId }) =>
      authorities.some(({ id, certificate }) => id === parentId && roots.has(toHex(certificate))),
    );
    this.#trusted = new Map(trusted.map(keyAndSerial));
  }

  /** The caller, if it would still be accepted now. Throws `unauthenticated`. */
  callerOf({ caller, issuer }: Peer): Caller {
    if (caller instanceof CarnetError) throw caller;
    if (caller.kind === 'none') return caller;
    if (this.#clock() >= caller.notAfter.getTime())
      throw unauthenticated(`it expired at ${caller.notAfter.toISOString()}`);
    const issuerSerial = this.#trusted.get(issuer);
    if (issuerSerial === undefined) throw unauthenticated('its root is trusted no more');
    for (const serial of [caller.serial, issuerSerial])
      if (this.#revoked.has(serial)) throw unauthenticated(`certificate ${serial} is revoked`);
    return caller;
  }
}

function keyAndSerial({ certificate }: PeerIssuer): [key: string, serial: string] {
  const { subject, subjectKeyIdentifier, serial } = parseCertificate(certificate);
  return [issuerKey(subject, subjectKeyIdentifier?.value), serialHex(serial)];
}

/** An issuer's name (DER) and key identifier (RFC 5280 §4.2.1.1). */
function issuerKey(name: Uint8Array, keyIdentifier: Uint8Array = new Uint8Array()): string {
  return `${toHex(name)} ${toHex(keyIdentifier)}`;
}

function unauthenticated(why: string): CarnetError {
  return new CarnetError('unauthenticated', `the client certificate is not accepted: ${why}`);
}
