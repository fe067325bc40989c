import type { Metadata } from '@grpc/grpc-js';
import type { Clock } from '../../clock.ts';
import type { Holder } from '../../delivery/holdings.ts';
import type { Attachment } from '../../delivery/instances.ts';
import { CarnetError } from '../../errors.ts';
import { bearerTokenOf } from '../../grpc/bearer-token.ts';
import { expired } from './jwt-end.ts';
import type { Caller } from './peer.ts';
import type { RemoteWorkload, SvidCallers } from './svid-callers.ts';
import type { TokenCallers } from './token-callers.ts';

/** What is asked of a call, and of whom. */
export interface RemoteCall {
  getPeer(): string;
  readonly metadata: Metadata;
}

/** The connections of calls. */
export interface Connections {
  /** Who makes a call, by what is trusted now. Throws `unauthenticated`. */
  callerOf(call: RemoteCall): Caller;
  /** Its token was accepted. Throws `overloaded`. */
  vouchFor(call: RemoteCall): void;
  /** What was shown on its connection counts no more: ends that, so that another can be shown on the next. */
  hangUp(call: RemoteCall): void;
}

export interface RemoteCallersOptions {
  readonly connections: Connections;
  readonly svids: SvidCallers;
  /** Null where nobody can say whose a token is. */
  readonly tokens: TokenCallers | null;
  /** A hold on the workload's certificates. Throws `overloaded`, `shutting_down`. */
  readonly attach: (workload: RemoteWorkload) => Attachment;
  readonly clock: Clock;
}

interface Held {
  readonly attachment: Attachment;
  /** Throws when what the call was let in by counts no more. */
  readonly check: () => void;
}

/**
 * Workloads that come without an agent: by the X.509-SVID of their connection, or by a token that a call carries. Each
 * call is known by itself, as calls on one connection may carry different tokens.
 */
export class RemoteCallers {
  readonly #options: RemoteCallersOptions;
  readonly #held = new Map<RemoteCall, Held>();

  constructor(options: RemoteCallersOptions) {
    this.#options = options;
  }

  /**
   * What the workload that makes a call holds, until {@link left}. Throws `unauthenticated`, `permission_denied`,
   * `overloaded`; `unavailable` and its like where nobody can tell who it is.
   */
  async holderOf(call: RemoteCall): Promise<Holder> {
    const { workload, check } = await this.#identify(call);
    // Who it is was asked elsewhere: its certificate may have been revoked meanwhile.
    check();
    const attachment = this.#options.attach(workload);
    this.#held.set(call, { attachment, check });
    return attachment.holder;
  }

  left(call: RemoteCall): void {
    this.#held.get(call)?.attachment.detach();
    this.#held.delete(call);
  }

  /** Throws `unauthenticated` when what a call was let in by counts no more. */
  check(call: RemoteCall): void {
    this.#held.get(call)?.check();
  }

  async #identify(call: RemoteCall): Promise<{ workload: RemoteWorkload; check: () => void }> {
    const caller = this.#callerOf(call);
    const token = bearerTokenOf(call.metadata);
    if (token !== null) return this.#byToken(call, token);
    if (caller.kind === 'none')
      throw new CarnetError(
        'unauthenticated',
        'show who you are: by an X.509-SVID of this trust domain, or a token (authorization: Bearer TOKEN)',
      );
    if (caller.kind === 'agent')
      throw new CarnetError(
        'permission_denied',
        `${caller.spiffeId} is one of Carnet's own parts, and no workload`,
      );
    const workload = await this.#options.svids.attest(caller);
    return { workload, check: () => void this.#callerOf(call) };
  }

  async #byToken(call: RemoteCall, token: string): Promise<{ workload: RemoteWorkload; check: () => void }> {
    const { connections, tokens, clock } = this.#options;
    if (tokens === null)
      throw new CarnetError(
        'unauthenticated',
        'tokens are not taken here: this server looks after no Kubernetes cluster (--kubernetes)',
      );
    const workload = await tokens.attest(token);
    connections.vouchFor(call);
    const check = (): void => {
      this.#callerOf(call);
      if (clock() >= workload.endsAt) throw expired(workload.endsAt);
    };
    return { workload, check };
  }

  /** A proxy goes on using its connection after a refusal, and would show the same certificate for ever. */
  #callerOf(call: RemoteCall): Caller {
    try {
      return this.#options.connections.callerOf(call);
    } catch (error) {
      this.#options.connections.hangUp(call);
      throw error;
    }
  }
}
