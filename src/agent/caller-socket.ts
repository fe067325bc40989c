import { createServer, type Server, type Socket } from 'node:net';
import { type Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import type { Attestation } from '../attestation/attestation.ts';
import { type Peer, readPeer } from '../attestation/peer-credentials.ts';
import type { Clock } from '../clock.ts';
import { CarnetError, type ErrorCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { Refusals } from './refusals.ts';
import { listenOnPath } from './socket-path.ts';

export interface CallerLimits {
  /** Open at once, those being attested included. */
  readonly connections: number;
  /** Of these, for one user: nobody takes all of them. */
  readonly connectionsPerUser: number;
}

/** Ours: a node's 2,000 proxies may all run as one user, and as many again while they restart. */
export const CALLER_LIMITS: CallerLimits = { connections: 8192, connectionsPerUser: 4096 };

/** Any local user may connect: what he gets is decided by who he is. The directory is the operator's to close. */
export const SOCKET_MODE = 0o666;

/** Ours: how long open calls may take to end when the socket closes. */
const CLOSE_GRACE_MS = 500;

export interface CallerSocketOptions {
  readonly path: string;
  readonly mode: number;
  /** Serves the callers. Give it `grpc.max_connection_idle_ms`: it is what ends connections that call nothing. */
  readonly server: GrpcServer;
  /** Finds out who a peer is, in bounded time; a caller for whom it throws is turned away. */
  readonly attest: (peer: Peer) => Promise<Attestation>;
  /** An admitted connection has closed. The attestation is the one that `attestationOf` answered for its calls. */
  readonly onClosed?: (attestation: Attestation) => void;
  readonly limits: CallerLimits;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface CallerStats {
  /** Open now. */
  readonly connections: number;
  /** Of these, not yet attested. */
  readonly attesting: number;
  /** Since the start. */
  readonly admitted: number;
  /** Since the start, by reason. */
  readonly refused: ReadonlyMap<ErrorCode, number>;
}

/**
 * Listens on the agent's Unix socket. Each connection is held back, unread, until its peer is attested; then
 * the gRPC server gets it. Throws `config_invalid` and `conflict` as `listenOnPath` does.
 */
export async function listenForCallers(options: CallerSocketOptions): Promise<CallerSocket> {
  const socket = new CallerSocket(options);
  await socket.listen();
  return socket;
}

/** The agent's Unix socket, once it listens. */
export class CallerSocket {
  readonly #options: CallerSocketOptions;
  readonly #listener: Server;
  readonly #injector: ReturnType<GrpcServer['createConnectionInjector']>;
  readonly #refusals: Refusals;
  readonly #attesting = new Set<Socket>();
  /** By the name that `getPeer()` gives a call. */
  readonly #attestations = new Map<string, Attestation>();
  readonly #connectionsOfUser = new Map<number, number>();
  #connections = 0;
  #admitted = 0;

  /** Use {@link listenForCallers}. */
  constructor(options: CallerSocketOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.log, options.clock);
    this.#injector = options.server.createConnectionInjector(ServerCredentials.createInsecure());
    // Paused, the kernel keeps what the caller sends until the gRPC server reads it.
    this.#listener = createServer({ pauseOnConnect: true }, (socket) => void this.#receive(socket));
  }

  async listen(): Promise<void> {
    const { path, mode, log } = this.#options;
    await listenOnPath(this.#listener, path, mode);
    this.#listener.on('error', (err) => log.error({ err }, `accepting on ${path} failed`));
  }

  /** Who makes a gRPC call. Throws `unauthenticated` for a call on a connection that has closed, or isn't ours. */
  attestationOf(call: { getPeer(): string }): Attestation {
    const attestation = this.#attestations.get(call.getPeer());
    if (attestation === undefined)
      throw new CarnetError('unauthenticated', 'the connection of this call has closed');
    return attestation;
  }

  stats(): CallerStats {
    return {
      connections: this.#connections,
      attesting: this.#attesting.size,
      admitted: this.#admitted,
      refused: this.#refusals.counts,
    };
  }

  /** Listens no more, ends all connections, and resolves when they have ended. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()));
    for (const socket of this.#attesting) socket.destroy();
    this.#injector.drain(CLOSE_GRACE_MS);
    await closed;
    this.#injector.destroy();
  }

  async #receive(socket: Socket): Promise<void> {
    // A caller may break off at any time; 'close' follows, and does what is to be done.
    socket.on('error', () => socket.destroy());
    let peer: Peer | null = null;
    try {
      peer = readPeer(socket);
      this.#checkLimits(peer.uid);
      this.#count(socket, peer.uid);
      this.#admit(socket, await this.#options.attest(peer));
    } catch (error) {
      this.#refusals.add(error, peer?.uid ?? null);
      socket.destroy();
    } finally {
      peer?.close();
    }
  }

  #checkLimits(uid: number): void {
    const { limits } = this.#options;
    if (this.#connections >= limits.connections)
      throw new CarnetError('overloaded', `${this.#connections} connections are open, which is the limit`);
    const ofUser = this.#connectionsOfUser.get(uid) ?? 0;
    if (ofUser >= limits.connectionsPerUser)
      throw new CarnetError('overloaded', `user ${uid} has ${ofUser} connections open, which is the limit`);
  }

  /** Counts a connection until it closes. */
  #count(socket: Socket, uid: number): void {
    this.#connections++;
    this.#connectionsOfUser.set(uid, (this.#connectionsOfUser.get(uid) ?? 0) + 1);
    this.#attesting.add(socket);
    socket.once('close', () => {
      this.#attesting.delete(socket);
      this.#connections--;
      const left = (this.#connectionsOfUser.get(uid) ?? 0) - 1;
      if (left > 0) this.#connectionsOfUser.set(uid, left);
      else this.#connectionsOfUser.delete(uid);
    });
  }

  /**
   * A call knows of its connection what `getPeer()` says: the socket's remote address. A Unix socket has none,
   * so each gets a name of its own there, under which its attestation is kept.
   */
  #admit(socket: Socket, attestation: Attestation): void {
    this.#attesting.delete(socket);
    if (socket.destroyed) return;
    const name = `caller-${++this.#admitted}`;
    Object.defineProperty(socket, 'remoteAddress', { value: name });
    this.#attestations.set(name, attestation);
    socket.once('close', () => {
      this.#attestations.delete(name);
      this.#options.onClosed?.(attestation);
    });
    this.#injector.injectConnection(socket);
    // The HTTP/2 session now gets what is read; reading itself is still ours to begin.
    socket.resume();
  }
}
