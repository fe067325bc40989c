import { createSecureContext, type PeerCertificate, type SecureContext } from 'node:tls';
import { ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';
import { CarnetError } from '../../errors.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import { parseCertificate } from '../../x509/certificate.ts';
import { parseCrl } from '../../x509/crl.ts';
import { encodePem } from '../../x509/pem.ts';
import { serialHex } from '../../x509/serial.ts';
import { serverIdOf } from '../identity.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AgentIdentity } from './agent-identity.ts';

/** By what an agent knows a server. */
export interface ServerTrust {
  readonly trustDomain: TrustDomain;
  /** DER. */
  readonly roots: readonly Uint8Array[];
  readonly crls: readonly Uint8Array[];
}

/**
 * TLS to a server: its chain must end at one of the roots and its certificate say `spiffe://<trust domain>/carnet/server`;
 * by which name or address it was reached says nothing. With an identity the agent shows its own.
 */
export function serverCredentials(trust: ServerTrust, identity: AgentIdentity | null): ChannelCredentials {
  return ChannelCredentials.createFromSecureContext(secureContextOf(trust, identity), {
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => refusalOf(certificate.raw, trust),
  });
}

export function channelOptions({ trustDomain }: ServerTrust): ChannelOptions {
  return {
    // Each channel has connections of its own: a new certificate means a new handshake.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': LINK_LIMITS.downBytes,
    // A server that is gone without a word, or stands still, is noticed.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    // What is to be tried again is decided here, with what came meanwhile.
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    // TLS has no server name for an IP address, and ours is no host's.
    'grpc.ssl_target_name_override': trustDomain,
  };
}

function secureContextOf({ roots }: ServerTrust, identity: AgentIdentity | null): SecureContext {
  return createSecureContext({
    minVersion: 'TLSv1.3',
    ca: roots.map((root) => encodePem('CERTIFICATE', root)),
    ...(identity !== null && {
      cert: identity.chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
      key: identity.privateKey.export({ format: 'pem', type: 'pkcs8' }),
    }),
  });
}

/** Why a certificate that OpenSSL verified up to one of the roots is no server's of ours, or undefined. */
function refusalOf(der: Uint8Array, { trustDomain, crls }: ServerTrust): Error | undefined {
  const { subjectAltName, serial } = parseCertificate(der);
  const uris = subjectAltName?.value.uris ?? [];
  if (uris.length !== 1 || uris[0] !== serverIdOf(trustDomain))
    return untrusted(
      `it is ${uris.join(', ') || 'nobody'}, not ${serverIdOf(trustDomain)}; see --trust-domain`,
    );
  const revoked = crls.some((crl) =>
    parseCrl(crl).entries.some((entry) => entry.serial === serialHex(serial)),
  );
  return revoked ? untrusted('its certificate is revoked') : undefined;
}

function untrusted(why: string): CarnetError {
  return new CarnetError('permission_denied', `whoever answers is no server of ours: ${why}`);
}
