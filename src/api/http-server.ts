import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
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

/** Serves the application over HTTP/1.1. Rejects when the address can't be had. */
export async function serveHttp(
  app: { callback(): RequestListener },
  address: { host: string; port: number },
  log: Logger,
): Promise<HttpServer> {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      connectionsCheckingInterval: HEADERS_TIMEOUT_MS / 2,
    },
    app.callback(),
  );
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

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
