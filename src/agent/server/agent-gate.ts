import { CarnetError, isRetryable } from '../../errors.ts';
import { parseSelector, type Selector } from '../../identity/selector.ts';
import type { AgentDirectory } from './agent-directory.ts';
import type { AgentStore, Standing } from './agent-store.ts';
import type { Caller } from './peer.ts';

/** An agent whose call may be heard. */
export interface AdmittedAgent {
  readonly node: string;
  /** Of the certificate that it shows. */
  readonly serial: string;
  readonly address: string;
  /** The node's: what its attestation showed, and its name. */
  readonly selectors: readonly Selector[];
  /** Of its attestation, and which one it was: what was issued under an earlier one tells nothing of a copy. */
  readonly evidence: Readonly<Record<string, unknown>>;
  /** The connection of the call. */
  readonly connection: string;
}

export type AgentCaller = Extract<Caller, { kind: 'agent' }>;

/** Where calls come from. */
export interface CallSource {
  callerOf(call: { getPeer(): string }): Caller;
  onClosed(listener: (connection: string) => void): void;
}

/**
 * Who is an agent, and may speak. Of a connection's certificate the database is asked once; after that what this replica
 * knows is looked at for each call.
 */
export class AgentGate {
  readonly #source: CallSource;
  readonly #store: Pick<AgentStore, 'presented'>;
  readonly #directory: AgentDirectory;
  readonly #standings = new Map<string, Promise<Standing>>();

  constructor(source: CallSource, store: Pick<AgentStore, 'presented'>, directory: AgentDirectory) {
    this.#source = source;
    this.#store = store;
    this.#directory = directory;
    source.onClosed((connection) => this.#standings.delete(connection));
  }

  /**
   * Whose certificate a call shows, by what is known here: nothing is asked of the database. Throws `unauthenticated`
   * without an accepted certificate, `permission_denied` for one that is no agent's, `agent_banned`.
   */
  identify(call: { getPeer(): string }): AgentCaller {
    const caller = this.#source.callerOf(call);
    if (caller.kind === 'none')
      throw new CarnetError('unauthenticated', 'this is for attested agents: show the certificate of one');
    if (caller.kind !== 'agent')
      throw new CarnetError('permission_denied', `${caller.spiffeId} is not the identity of an agent`);
    this.#directory.checkNotBanned(caller.node);
    return caller;
  }

  /** Throws as {@link identify}, and what {@link AgentStore.presented} throws. */
  async admit(call: { getPeer(): string }): Promise<AdmittedAgent> {
    const { node, serial, address } = this.identify(call);
    const connection = call.getPeer();
    const standing = await this.#standingOf(connection, node, serial);
    this.#directory.check(node, standing.attestation);
    return {
      node,
      serial,
      address,
      selectors: nodeSelectorsOf(node, standing.selectors),
      evidence: { method: standing.method, ...standing.evidence, attestation: standing.attestation },
      connection,
    };
  }

  /** A refusal stands for the connection; what may pass is asked again. */
  #standingOf(connection: string, node: string, serial: string): Promise<Standing> {
    const known = this.#standings.get(connection);
    if (known !== undefined) return known;
    const asked = this.#store.presented(node, serial);
    this.#standings.set(connection, asked);
    asked.catch((error: unknown) => {
      if (isRetryable(error)) this.#standings.delete(connection);
    });
    return asked;
  }
}

/** What entries can say of a node: its name, and what its attestation showed. */
export function nodeSelectorsOf(node: string, shown: readonly string[]): Selector[] {
  return [parseSelector(`node:name:${node}`), ...shown.map(parseSelector)];
}
