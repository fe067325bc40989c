import { constants } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type SecureContextOptions, type TLSSocket, type Server as TlsServer } from 'node:tls';
import {
  Server as GrpcServer,
  ServerCredentials,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { CarnetError } from '../../errors.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { Logger } from '../../log.ts';
import { encodePem } from '../../x509/pem.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import { type ConnectionLimits, type ConnectionPlace, ConnectionPlaces } from './connection-places.ts';
import { Handshakes } from './handshakes.ts';
import { type Caller, type Peer, type PeerCheck, readPeer } from './peer.ts';

/** What the server shows in a handshake, and by what it knows its callers. */
export interface ListenerIdentity {
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
  /** Leaf first, up to and with the root: an agent that knows only a root's fingerprint finds it here. DER. */
  readonly chain: readonly Uint8Array[];
  /** Trusted for callers, DER. */
  readonly roots: readonly Uint8Array[];
}

export interface ListenerLimits extends ConnectionLimits {
  /** Open at once, those in their handshake too. */
  readonly connections: number;
  /** Of these in their handshake, from one address. */
  readonly handshakesOfOneAddress: number;
  readonly handshakeMs: number;
}

/** Ours: an agent a node, and proxies without one; strangers become agents, or show a token, within seconds. */
export const LISTENER_LIMITS: ListenerLimits = {
  connections: 8192,
  handshakesOfOneAddress: 2048,
  strangers: 1024,
  strangersOfOneAddress: 512,
  workloads: 5120,
  ofOneCertificate: 64,
  ofOneAgent: 16,
  handshakeMs: 10_000,
};

export interface ListenerOptions {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly trustDomain: TrustDomain;
  readonly identity: ListenerIdentity;
  /** By what is trusted now. */
  readonly check: () => PeerCheck;
  readonly log: Logger;
  readonly limits?: Partial<ListenerLimits>;
}

/** How long open calls may take to end when the listener, or a connection, closes. */
const CLOSE_GRACE_MS = 1000;

interface Connection {
  readonly peer: Peer;
  readonly place: ConnectionPlace;
  readonly socket: TLSSocket;
  isEnding: boolean;
}

const COMMON: ServerOptions = {
  'grpc.max_concurrent_streams': 100,
  // A connection without a call ends, also one that never says anything.
  'grpc.max_connection_idle_ms': 60_000,
  // A peer that is gone without a word is noticed.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 20_000,
};
/** Who is not an agent sends nothing that is large: a service's own limits may be less. */
const FOR_OTHERS: ServerOptions = {
  ...COMMON,
  'grpc.max_receive_message_length': 256 * 1024,
  'grpc-node.max_session_memory': 10,
};
const FOR_AGENTS: ServerOptions = {
  ...COMMON,
  'grpc.max_receive_message_length': LINK_LIMITS.upBytes,
  'grpc.max_send_message_length': LINK_LIMITS.downBytes,
  'grpc-node.max_session_memory': 2 * (LINK_LIMITS.downBytes / 1024 / 1024),
};

/**
 * Listens on TCP with TLS 1.3 for whoever speaks gRPC: agents, workloads with an X.509-SVID, and callers without a
 * certificate; which service is for whom is the service's to say, by {@link Listener.callerOf}. Throws
 * `config_invalid` where the address can't be had.
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const listener = new Listener(options);
  await listener.listen();
  return listener;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #limits: ListenerLimits;
  readonly #tls: TlsServer;
  /** Agents may send what others may not. */
  readonly #servers = { agents: new GrpcServer(FOR_AGENTS), others: new GrpcServer(FOR_OTHERS) };
  readonly #injectors;
  /** By the name that `getPeer()` gives a call. */
  readonly #connections = new Map<string, Connection>();
  readonly #onClosed = new Set<(connection: string) => void>();
  readonly #places: ConnectionPlaces;
  readonly #handshakes: Handshakes;
  #accepted = 0;

  /** Use {@link startListener}. */
  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = { ...LISTENER_LIMITS, ...options.limits };
    this.#places = new ConnectionPlaces(this.#limits);
    this.#handshakes = new Handshakes(this.#limits.handshakesOfOneAddress);
    const insecure = ServerCredentials.createInsecure();
    this.#injectors = {
      agents: this.#servers.agents.createConnectionInjector(insecure),
      others: this.#servers.others.createConnectionInjector(insecure),
    };
    this.#tls = createServer(
      {
        ...contextOf(options.identity),
        requestCert: true,
        // What is shown is judged by us, and answered with words; nothing shown is right for some.
        rejectUnauthorized: false,
        ALPNProtocols: ['h2'],
        handshakeTimeout: this.#limits.handshakeMs,
      },
      (socket) => this.#receive(socket),
    );
    this.#tls.on('connection', (socket) => {
      if (!this.#handshakes.begin(socket)) socket.destroy();
    });
    this.#tls.maxConnections = this.#limits.connections;
  }

  async listen(): Promise<void> {
    const { host, port, log } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#tls.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'something listens there already' : String(error.code);
      reject(
        new CarnetError(
          'config_invalid',
          `--grpc-addr ${host}:${port} can't be had: ${why}; give another, or off where no other node has an agent`,
          {
            cause: error,
          },
        ),
      );
    });
    this.#tls.listen(port, host, resolve);
    await promise;
    this.#tls
      .removeAllListeners('error')
      .on('error', (err) => log.error({ err }, 'accepting on --grpc-addr failed'));
    this.#tls.on('tlsClientError', (err) => log.debug({ err }, 'a TLS handshake failed'));
  }

  /** Where it listens. */
  get address(): { host: string; port: number } {
    const { address, port } = this.#tls.address() as AddressInfo;
    return { host: address, port };
  }

  /** For connections from now on; those that stand keep what they had. */
  setIdentity(identity: ListenerIdentity): void {
    this.#tls.setSecureContext(contextOf(identity));
  }

  /** Adds a service, for every kind of caller. */
  addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    for (const server of Object.values(this.#servers)) server.addService(definition, implementation);
  }

  /**
   * Who makes a gRPC call, by what is trusted now. Throws `unauthenticated` for a certificate that is not accepted,
   * or is so no more, and for a call on a connection that has closed or isn't ours.
   */
  callerOf(call: { getPeer(): string }): Caller {
    return this.#options.check().callerOf(this.#connectionOf(call).peer);
  }

  /**
   * A call's token was accepted: its connection is no stranger's any more. Throws `overloaded` where it can be no
   * workload's either, and `unauthenticated` where it has closed.
   */
  vouchFor(call: { getPeer(): string }): void {
    if (!this.#connectionOf(call).place.becomeWorkload())
      throw new CarnetError('overloaded', 'as many workloads are connected as may be: try again later');
  }

  /**
   * Ends a call's connection, after the second in which its calls are told: what was shown in its handshake counts no
   * more, and another certificate can be shown on another connection only.
   */
  hangUp(call: { getPeer(): string }): void {
    const connection = this.#connections.get(call.getPeer());
    if (connection === undefined || connection.isEnding) return;
    connection.isEnding = true;
    setTimeout(() => connection.socket.destroy(), CLOSE_GRACE_MS).unref();
  }

  /** Calls `listener` with the name (what `getPeer()` gives its calls) of each connection that closes. */
  onClosed(listener: (connection: string) => void): void {
    this.#onClosed.add(listener);
  }

  /** Where a call comes from; empty once its connection has closed. */
  addressOf(call: { getPeer(): string }): string {
    return this.#connections.get(call.getPeer())?.peer.address ?? '';
  }

  /** Listens no more, ends all connections, and resolves when they have ended. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#tls.close(() => resolve()));
    for (const injector of Object.values(this.#injectors)) injector.drain(CLOSE_GRACE_MS);
    await closed;
    for (const injector of Object.values(this.#injectors)) injector.destroy();
    for (const server of Object.values(this.#servers)) server.forceShutdown();
  }

  /**
   * A call knows of its connection what `getPeer()` says: the socket's remote address. Each gets a name of its own
   * there, under which its peer is kept.
   */
  #receive(socket: TLSSocket): void {
    this.#handshakes.over(socket);
    socket.on('error', () => socket.destroy());
    const address = socket.remoteAddress ?? '';
    const peer = readPeer(socket, address, this.#options.trustDomain);
    const isAgent = !(peer.caller instanceof CarnetError) && peer.caller.kind === 'agent';
    const place = this.#places.take(peer.caller, address);
    if (place === null) return void socket.destroy();
    const name = `peer-${++this.#accepted}`;
    Object.defineProperties(socket, { remoteAddress: { value: name }, remotePort: { value: undefined } });
    this.#connections.set(name, { peer, place, socket, isEnding: false });
    socket.once('close', () => {
      this.#connections.delete(name);
      for (const listener of this.#onClosed) listener(name);
      place.giveBack();
    });
    this.#injectors[isAgent ? 'agents' : 'others'].injectConnection(socket);
  }

  #connectionOf(call: { getPeer(): string }): Connection {
    const connection = this.#connections.get(call.getPeer());
    if (connection === undefined)
      throw new CarnetError('unauthenticated', 'the connection of this call has closed');
    return connection;
  }
}

/** TLS 1.3 alone, without resumption: a resumed session would be judged by the certificate of its first handshake. */
function contextOf({ privateKey, chain, roots }: ListenerIdentity): SecureContextOptions {
  return {
    key: encodePem('PRIVATE KEY', privateKey),
    cert: chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    ca: roots.map((der) => encodePem('CERTIFICATE', der)),
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
