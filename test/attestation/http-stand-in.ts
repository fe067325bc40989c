import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  createServer as createHttp,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Issued } from './machine-ca.ts';

/**
 * A server in the place of one that can't run here, such as kubelet: a real HTTP(S) server on 127.0.0.1 or a Unix
 * socket, which answers as a test tells it to.
 */
export class StandIn {
  readonly server: Server;
  /** What was asked for, in order: method, path and Authorization. */
  readonly asked: string[] = [];
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end('{}');

  constructor(identity: Issued | null) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`);
      this.answer(request, response);
    };
    this.server =
      identity === null
        ? createHttp(listener)
        : createHttps({ cert: identity.certificate, key: readFileSync(identity.keyFile) }, listener);
  }

  /** Resolves to the base URL. */
  async listen(): Promise<URL> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    const { port } = this.server.address() as AddressInfo;
    return new URL(`${'setSecureContext' in this.server ? 'https' : 'http'}://127.0.0.1:${port}`);
  }

  async listenOn(path: string): Promise<void> {
    this.server.listen(path);
    await once(this.server, 'listening');
  }

  /** Answers every request with this JSON. */
  answers(json: unknown, status = 200): void {
    this.answer = (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    };
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
