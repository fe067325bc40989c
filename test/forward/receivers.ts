import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttps, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer as createTls, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { type Issued, MachineCa } from '../attestation/machine-ca.ts';
import { FrameReader, parseMessage } from './syslog-reader.ts';

const EXTENSIONS = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=serverAuth,clientAuth',
];

/** A CA, a receiver's certificate for 127.0.0.1 and a client's, and a secret, all in files. */
export class Trust {
  readonly ca = new MachineCa();
  readonly root = this.ca.root('/CN=receivers');
  readonly server = this.issue('/CN=receiver', 'subjectAltName=IP:127.0.0.1');
  readonly client = this.issue('/CN=carnet', 'subjectAltName=DNS:carnet');
  readonly secret = 'a secret of more than thirty-two characters';
  readonly secretFile = this.ca.write(`${this.secret}\n`);

  /** What a sink is told of them. */
  get tls() {
    const { certificateFile: certFile, keyFile } = this.client;
    return { caFile: this.root.certificateFile, certFile, keyFile };
  }

  issue(subject: string, name: string): Issued {
    return this.ca.issue(this.root, { subject, extensions: [...EXTENSIONS, name] });
  }

  remove(): void {
    this.ca.remove();
  }
}

/** The lines that a receiver took, and whether they are the log. */
export class Arrivals {
  readonly lines: string[] = [];

  get leaves(): number[] {
    return this.lines.map((line) => JSON.parse(line).leaf_index as number);
  }

  /** Leaf indexes, each where it came first: in order and without a gap, or where not. */
  get firstArrivals(): number[] {
    return [...new Set(this.leaves)];
  }

  /** What is wrong with them as the first `size` entries of a log; null where they are in order, whole and nothing else. */
  faultOf(size: number): string | null {
    const first = this.firstArrivals;
    const wrong = first.findIndex((leaf, i) => leaf !== i);
    if (wrong !== -1) return `entry ${first[wrong]} came first where ${wrong} was to come`;
    return first.length === size ? null : `${first.length} entries came of ${size}`;
  }
}

/** A webhook over TLS that takes a batch only if it is signed and what its headers say. */
export class WebhookReceiver {
  readonly arrivals = new Arrivals();
  /** How many lines each request had that was looked at. */
  readonly batches: number[] = [];
  /** Of requests that were not as they should be. */
  readonly faults: string[] = [];
  /** What is answered to what was found in order; by default it is taken. */
  answer: (lines: readonly string[], response: ServerResponse, request: IncomingMessage) => void = (
    lines,
    response,
  ) => this.take(lines, response);
  readonly #trust: Trust;
  readonly #server: Server;

  private constructor(trust: Trust) {
    this.#trust = trust;
    this.#server = createHttps(optionsOf(trust), (request, response) => {
      void this.#receive(request, response).catch(() => response.destroy());
    });
  }

  static async listen(trust: Trust): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(trust);
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): URL {
    return new URL(`https://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook?token=hidden`);
  }

  take(lines: readonly string[], response: ServerResponse): void {
    this.arrivals.lines.push(...lines);
    response.writeHead(204).end();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const lines = body.toString('utf8').split('\n').slice(0, -1);
    this.batches.push(lines.length);
    const fault = this.#faultOf(request, body, lines);
    if (fault !== null) this.faults.push(fault);
    this.answer(lines, response, request);
  }

  #faultOf({ headers }: IncomingMessage, body: Buffer, lines: readonly string[]): string | null {
    const signed = createHmac('sha256', this.#trust.secret)
      .update(`${headers['carnet-timestamp']}.`)
      .update(body)
      .digest('hex');
    if (headers['carnet-signature'] !== `v1=${signed}`) return 'signature';
    if (headers['content-type'] !== 'application/x-ndjson') return 'content type';
    const leaves = lines.map((line) => JSON.parse(line).leaf_index as number);
    const range = [Number(headers['carnet-first-leaf']), Number(headers['carnet-last-leaf'])];
    return leaves[0] === range[0] && leaves.at(-1) === range[1] ? null : 'range';
  }
}

/** Syslog over TLS, by the letter: a connection that holds anything but whole messages is a fault. */
export class SyslogReceiver {
  readonly arrivals = new Arrivals();
  readonly faults: string[] = [];
  connections = 0;
  /** What is done with a connection instead of reading all of it; null for that. */
  instead: ((socket: TLSSocket) => void) | null = null;
  /** Only so many bytes are read, and then the connection is cut. */
  cutAfter: number | null = null;
  readonly #server: TlsServer;
  readonly #sockets = new Set<TLSSocket>();

  private constructor(trust: Trust) {
    this.#server = createTls(
      { ...optionsOf(trust), requestCert: true, ca: trust.root.certificate },
      (socket) => {
        this.connections++;
        this.#sockets.add(socket.on('error', () => undefined));
        socket.once('close', () => this.#sockets.delete(socket));
        if (this.instead !== null) this.instead(socket);
        else this.#read(socket);
      },
    );
  }

  static async listen(trust: Trust, port = 0): Promise<SyslogReceiver> {
    const receiver = new SyslogReceiver(trust);
    receiver.#server.listen(port, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #read(socket: TLSSocket): void {
    const frames = new FrameReader();
    let left = this.cutAfter ?? Number.POSITIVE_INFINITY;
    socket.on('data', (chunk: Buffer) => {
      const taken = chunk.subarray(0, left);
      left -= taken.length;
      try {
        for (const text of frames.read(taken)) this.arrivals.lines.push(parseMessage(text).message);
      } catch (error) {
        this.faults.push((error as Error).message);
        socket.destroy();
      }
      if (left === 0) socket.destroy();
    });
    socket.on('end', () => {
      if (!frames.isWhole) this.faults.push('ended in the middle of a message');
    });
  }
}

function optionsOf({ server, root }: Trust) {
  return {
    cert: server.certificate,
    key: readFileSync(server.keyFile),
    ca: root.certificate,
    requestCert: true,
  };
}
