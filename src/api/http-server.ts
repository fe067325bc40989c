import { constants } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Logger } from '../log.ts';

/** Headers must be whole within this, so that a client that sends a byte a second holds nothing for long. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Eight MiB of entries over a slow link. */
const REQUEST_TIMEOUT_MS = 60_000;
/** A socket on which nothing moves, in either direction, such as a reader that doesn't read. */
const IDLE_TIMEOUT_MS = 90_000;
const KEEP_ALIVE_TIMEOUT_MS = 15_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
/** Operators, scrapers and probes; proxies come in by another door. Past it, a connection is closed at once. */
const MAX_CONNECTIONS = 4000;

export interface HttpServer {
  /** `http://127.0.0.1:8080`, with the port that was given when 0 was asked for. */
  readonly url: string;
  /** Takes no more connections, lets running requests end, and after `graceMs` cuts them off. */
  close(graceMs: number): Promise<void>;
}

/** What a listener shows in its handshakes, and by what it verifies clients' certificates. PEM; a new object for each change. */
export interface TlsIdentity {
  readonly key: string;
  readonly cert: string;
  readonly ca: readonly string[];
}

/**
 * Serves the application over HTTP/1.1; with `identity`, which is asked at each connection, over TLS 1.3, where a
 * client may show a certificate: who that is is the application's to judge. Rejects when the address can't be had.
 */
export async function serveHttp(
  app: { callback(): RequestListener },
  address: { host: string; port: number },
  log: Logger,
  identity: (() => TlsIdentity) | null = null,
): Promise<HttpServer> {
  const server = create(app.callback(), identity);
  server.maxHeadersCount = MAX_HEADERS;
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(IDLE_TIMEOUT_MS);
  // Once closing, a connection whose request has ended would still be kept for its next one.
  server.on('request', (_request, response) =>
    response.once('close', () => {
      if (!server.listening) setImmediate(() => server.closeIdleConnections());
    }),
  );
  server.on('drop', () => log.warn({ limit: MAX_CONNECTIONS }, 'http connection refused: too many'));
  await listen(server, address);
  return { url: urlOf(server), close: (graceMs) => close(server, graceMs) };
}

function create(listener: RequestListener, identity: (() => TlsIdentity) | null): Server | TlsServer {
  const limits = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    connectionsCheckingInterval: HEADERS_TIMEOUT_MS / 2,
  };
  if (identity === null) return createServer(limits, listener);
  let shown = identity();
  const server = createTlsServer(
    {
      ...limits,
      ...contextOf(shown),
      requestCert: true,
      // What is shown is judged by us, and answered with words; nothing shown is right for some.
      rejectUnauthorized: false,
      handshakeTimeout: HEADERS_TIMEOUT_MS,
    },
    listener,
  );
  server.prependListener('connection', () => {
    const now = identity();
    if (now === shown) return;
    shown = now;
    server.setSecureContext(contextOf(now));
  });
  return server;
}

/** TLS 1.3 alone, without resumption: a resumed session would be judged by the certificate of its first handshake. */
function contextOf({ key, cert, ca }: TlsIdentity): SecureContextOptions {
  return { key, cert, ca: [...ca], minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };
}

function listen(server: Server | TlsServer, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server | TlsServer, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function urlOf(server: Server | TlsServer): string {
  const { address, port, family } = server.address() as AddressInfo;
  const scheme = 'setSecureContext' in server ? 'https' : 'http';
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
