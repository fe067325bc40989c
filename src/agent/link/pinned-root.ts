import { createHash } from 'node:crypto';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { CarnetError } from '../../errors.ts';
import { equalBytes } from '../../x509/bytes.ts';

/** Ours: for one handshake. */
const TIMEOUT_MS = 10_000;
/** No chain of ours is as long. */
const MAX_CHAIN = 8;

/**
 * The root certificate (DER) that a server shows and whose SHA-256 is one of `pins`. Nothing is said to the server and
 * nothing else of what it shows is believed: with the root the real connection is verified like any other. Throws
 * `unavailable`, `permission_denied`.
 */
export async function fetchPinnedRoot(
  { host, port }: { host: string; port: number },
  pins: readonly Uint8Array[],
): Promise<Uint8Array> {
  const chain = await shownBy(host, port);
  const root = chain.find((der) => pins.some((pin) => equalBytes(pin, sha256(der))));
  if (root === undefined)
    throw new CarnetError(
      'permission_denied',
      `whoever answers at ${host}:${port} does not show the root that the join token names: it is no server of ours, or the root was rotated since; make another token, or give --trust-bundle`,
    );
  return root;
}

/** As a server's REST interface answers. */
const NO_TLS = "it speaks no TLS: --server-addr must be a server's --grpc-addr, not its --http-addr";

function shownBy(host: string, port: number): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      // Whom it shows is compared with the pins; no byte of ours is sent to him.
      rejectUnauthorized: false,
      timeout: TIMEOUT_MS,
    });
    const fail = (why: string): void => {
      socket.destroy();
      reject(new CarnetError('unavailable', `server ${host}:${port}: ${why}`));
    };
    socket.once('secureConnect', () => {
      resolve(chainOf(socket));
      socket.destroy();
    });
    socket.once('timeout', () => fail(`no handshake within ${TIMEOUT_MS / 1000} s`));
    socket.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      fail(code === 'ERR_SSL_WRONG_VERSION_NUMBER' ? NO_TLS : message),
    );
    socket.once('close', () => fail('the connection was closed'));
  });
}

function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (next?.raw !== undefined && chain.length < MAX_CHAIN) {
    chain.push(next.raw);
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate;
  }
  return chain;
}

function sha256(der: Uint8Array): Uint8Array {
  return createHash('sha256').update(der).digest();
}
