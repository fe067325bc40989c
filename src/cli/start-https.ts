import { TLSSocket } from 'node:tls';
import { type Peer, PeerCheck, readPeer } from '../agent/server/peer.ts';
import type { ServerIdentity } from '../agent/server/server-identity.ts';
import type { IdentifyPeer } from '../api/callers.ts';
import { serveHttp, type TlsIdentity } from '../api/http-server.ts';
import { CarnetError } from '../errors.ts';
import { formatAddress } from '../setting-values.ts';
import { encodePem } from '../x509/pem.ts';
import { createOwnIdentity, encodedOnce } from './own-identity.ts';
import { type LinkOptions, trustedOf } from './start-link.ts';

type HttpsOptions = Pick<
  LinkOptions,
  'config' | 'authorities' | 'recorder' | 'clock' | 'denials' | 'metrics' | 'log'
>;

/** The REST interface over TLS, where it is. */
export interface Https extends AsyncDisposable {
  readonly url: string;
  /** The authorities were read anew. */
  authoritiesChanged(): void;
}

const GRACE_MS = 2_000;

/**
 * Serves the REST interface on `--https-addr` too, with a certificate of our own; null without. Throws
 * `config_invalid` where the address can't be had, and what issuing throws.
 */
export async function startHttps(
  options: HttpsOptions,
  app: Parameters<typeof serveHttp>[0],
): Promise<Https | null> {
  const { config, log } = options;
  const { httpsAddr: address } = config;
  if (address === null) return null;
  await using stack = new AsyncDisposableStack();
  const identity = await createOwnIdentity(options, {
    dnsNames: config.httpsDnsName,
    onFailed: 'the certificate of --https-addr could not be renewed; the old one serves',
  });
  stack.defer(() => identity.close());
  const server = await serveHttp(app, address, log, encodedOnce(identity, pemOf)).catch((cause: unknown) => {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new CarnetError(
      'config_invalid',
      `--https-addr ${formatAddress(address)} can't be had: ${why}; give another`,
      { cause },
    );
  });
  stack.defer(() => server.close(GRACE_MS));
  log.info({ url: server.url }, 'the REST interface is served over TLS too');
  const owned = stack.move();
  return {
    url: server.url,
    authoritiesChanged: () => identity.authoritiesChanged(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Who is at the other end of a connection to `--https-addr`, by what is trusted now. */
export function peersOf({
  config,
  authorities,
  clock,
}: Pick<HttpsOptions, 'config' | 'authorities' | 'clock'>): IdentifyPeer {
  const peers = new WeakMap<TLSSocket, Peer>();
  let trusted: string | null = null;
  let check: PeerCheck | null = null;
  return (socket) => {
    if (!(socket instanceof TLSSocket)) return null;
    const peer = peers.get(socket) ?? readPeer(socket, socket.remoteAddress ?? '', config.trustDomain);
    peers.set(socket, peer);
    const now = trustedOf(authorities);
    if (check === null || now !== trusted) {
      trusted = now;
      check = new PeerCheck(authorities.bundle(), authorities.list(), clock);
    }
    const caller = check.callerOf(peer);
    if (caller.kind === 'none') return null;
    const { spiffeId, notAfter } = caller;
    const role = config.identityRole.find((one) => one.spiffeId === spiffeId)?.role ?? null;
    return { spiffeId, role, notAfter };
  };
}

function pemOf({ chain, privateKey, roots }: ServerIdentity['current']): TlsIdentity {
  return {
    key: encodePem('PRIVATE KEY', privateKey),
    cert: chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    ca: roots.map((der) => encodePem('CERTIFICATE', der)),
  };
}
