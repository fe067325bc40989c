import { createServer as createHttpServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { encodeBundle } from '../identity/bundle-document.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';

/** How the endpoint proves who it is, in PEM. A new object for each change. */
export interface EndpointIdentity {
  /** Leaf first. */
  readonly chain: string;
  readonly privateKey: string;
}

export interface BundleEndpointOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly bundle: () => TrustBundle | undefined;
  /** Whole seconds: when whoever fetches it is to come again. */
  readonly refreshHintSeconds: number;
  /** Asked at each connection, so that it may change at any time; null: plain HTTP, for a TLS proxy before us. */
  readonly identity: (() => EndpointIdentity) | null;
  /** The bundle went out. */
  readonly onServed: () => void;
  readonly log: Logger;
}

export interface BundleEndpoint {
  /** With the port that was given when 0 was asked for. */
  readonly url: string;
  /** Cuts what is under way after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

/** Trust domains fetch it every few minutes. Past it, a connection is closed at once. */
const MAX_CONNECTIONS = 256;
/** Of a request, which has no body, and of the TLS handshake before it. */
const TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 8 * 1024;
const MAX_REQUESTS_PER_CONNECTION = 100;

/**
 * Serves our SPIFFE bundle at `/` to whoever asks (SPIFFE Federation §5.2.1.3, §5.2.2.3). Rejects when the address
 * can't be had.
 */
export async function serveBundle(options: BundleEndpointOptions): Promise<BundleEndpoint> {
  const limits = {
    headersTimeout: TIMEOUT_MS,
    requestTimeout: TIMEOUT_MS,
    keepAliveTimeout: TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_MS / 2,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const { identity, log } = options;
  const server =
    identity === null
      ? createHttpServer(limits, answer(options))
      : createHttpsServer({ ...limits, handshakeTimeout: TIMEOUT_MS }, answer(options));
  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
  server.setTimeout(TIMEOUT_MS);
  if (identity !== null && 'setSecureContext' in server) presentNewest(server, identity, log);
  await listen(server, options.address);
  const { address, port, family } = server.address() as AddressInfo;
  const host = family === 'IPv6' ? `[${address}]` : address;
  return {
    url: `${identity === null ? 'http' : 'https'}://${host}:${port}/`,
    close: async (graceMs) => {
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeIdleConnections();
      });
      clearTimeout(cut);
    },
  };
}

function answer({ bundle, refreshHintSeconds, onServed }: BundleEndpointOptions): RequestListener {
  return ({ method, url }, response) => {
    const known = bundle();
    if (url !== '/') return end(response, 404, 'the bundle is at /\n');
    if (method !== 'GET' && method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return end(response, 405, 'ask by GET\n');
    }
    if (known === undefined) {
      response.setHeader('retry-after', '5');
      return end(response, 503, 'the server is starting\n');
    }
    response.setHeader('content-type', 'application/json');
    response.setHeader('cache-control', 'no-cache');
    response.end(`${JSON.stringify(encodeBundle(known, refreshHintSeconds))}\n`);
    if (method === 'GET') onServed();
  };
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
}

/** Before the handshake of each connection begins, it is given the identity as it is then. */
function presentNewest(
  server: ReturnType<typeof createHttpsServer>,
  identity: () => EndpointIdentity,
  log: Logger,
): void {
  let presented: EndpointIdentity | null = null;
  server.prependListener('connection', (socket) => {
    try {
      const newest = identity();
      if (newest === presented) return;
      server.setSecureContext({ cert: newest.chain, key: newest.privateKey, minVersion: 'TLSv1.2' });
      presented = newest;
    } catch (error) {
      log.warn({ err: error }, 'the bundle endpoint has no new certificate: it goes on with the last');
      if (presented === null) socket.destroy();
    }
  });
}

function listen(server: Server, { host, port }: BundleEndpointOptions['address']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
