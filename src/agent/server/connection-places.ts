import { callerOf } from '../../api/rate-limit.ts';
import type { Caller } from './peer.ts';

/** How many connections may be open at once. */
export interface ConnectionLimits {
  /** Of callers that showed nothing that was accepted yet. */
  readonly strangers: number;
  /** Of these from one address, behind which there may be many. */
  readonly strangersOfOneAddress: number;
  /** Of workloads: by a certificate, or by a token that was accepted. */
  readonly workloads: number;
  /** Of workloads with one certificate. */
  readonly ofOneCertificate: number;
  /** Of agents with one node's identity: the one that is used, and those that nobody knows yet to be dead. */
  readonly ofOneAgent: number;
}

/** A connection's place among those of its kind. */
export interface ConnectionPlace {
  /** Of a stranger: it has shown a token that was accepted. Throws nothing: false where there is no place for it. */
  becomeWorkload(): boolean;
  giveBack(): void;
}

type Kind = 'agent' | 'workload' | 'stranger';

/** Keeps callers of one kind from taking the connections of another, and one from taking those of all of its kind. */
export class ConnectionPlaces {
  readonly #limits: ConnectionLimits;
  readonly #taken: Record<Kind, number> = { agent: 0, workload: 0, stranger: 0 };
  /** Of each address, certificate and agent. */
  readonly #ofOne = new Map<string, number>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** A place for a caller; one that is an error, too, is a stranger. Null where there is none. */
  take(caller: Caller | Error, address: string): ConnectionPlace | null {
    let kind = kindOf(caller);
    let who: string | null = whoIs(caller, address);
    if (!this.#hasRoom(kind) || !this.#takeOne(who, this.#limitOf(caller))) return null;
    this.#taken[kind]++;
    return {
      becomeWorkload: () => {
        if (kind !== 'stranger') return true;
        if (!this.#hasRoom('workload')) return false;
        this.#taken[kind]--;
        this.#giveOneBack(who);
        kind = 'workload';
        who = null;
        this.#taken[kind]++;
        return true;
      },
      giveBack: () => {
        this.#taken[kind]--;
        this.#giveOneBack(who);
      },
    };
  }

  #hasRoom(kind: Kind): boolean {
    if (kind === 'agent') return true;
    return this.#taken[kind] < (kind === 'stranger' ? this.#limits.strangers : this.#limits.workloads);
  }

  #limitOf(caller: Caller | Error): number {
    const { strangersOfOneAddress, ofOneCertificate, ofOneAgent } = this.#limits;
    if (caller instanceof Error || caller.kind === 'none') return strangersOfOneAddress;
    return caller.kind === 'agent' ? ofOneAgent : ofOneCertificate;
  }

  #takeOne(who: string, limit: number): boolean {
    const count = this.#ofOne.get(who) ?? 0;
    if (count >= limit) return false;
    this.#ofOne.set(who, count + 1);
    return true;
  }

  #giveOneBack(who: string | null): void {
    if (who === null) return;
    const rest = (this.#ofOne.get(who) ?? 1) - 1;
    if (rest === 0) this.#ofOne.delete(who);
    else this.#ofOne.set(who, rest);
  }
}

function kindOf(caller: Caller | Error): Kind {
  if (caller instanceof Error || caller.kind === 'none') return 'stranger';
  return caller.kind === 'agent' ? 'agent' : 'workload';
}

function whoIs(caller: Caller | Error, address: string): string {
  if (caller instanceof Error || caller.kind === 'none') return `address ${callerOf(address)}`;
  return caller.kind === 'agent' ? `agent ${caller.node}` : `certificate ${caller.serial}`;
}
