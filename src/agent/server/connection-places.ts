import type { Caller } from './peer.ts';

/** How many connections may be open at once. */
export interface ConnectionLimits {
  /** Of callers that showed nothing that was accepted yet. */
  readonly strangers: number;
  /** Of workloads: by a certificate, or by a token that was accepted. */
  readonly workloads: number;
  /** Of workloads with one certificate. */
  readonly ofOneCertificate: number;
}

/** A connection's place among those of its kind. */
export interface ConnectionPlace {
  /** Of a stranger: it has shown a token that was accepted. Throws nothing: false where there is no place for it. */
  becomeWorkload(): boolean;
  giveBack(): void;
}

type Kind = 'agent' | 'workload' | 'stranger';

/** Keeps callers of one kind from taking the connections of another. */
export class ConnectionPlaces {
  readonly #limits: ConnectionLimits;
  readonly #taken: Record<Kind, number> = { agent: 0, workload: 0, stranger: 0 };
  readonly #ofCertificate = new Map<string, number>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** A place for a caller; one that is an error, too, is a stranger. Null where there is none. */
  take(caller: Caller | Error): ConnectionPlace | null {
    const serial = !(caller instanceof Error) && caller.kind === 'svid' ? caller.serial : null;
    let kind = kindOf(caller);
    if (!this.#hasRoom(kind) || (serial !== null && !this.#takeOne(serial))) return null;
    this.#taken[kind]++;
    return {
      becomeWorkload: () => {
        if (kind !== 'stranger') return true;
        if (!this.#hasRoom('workload')) return false;
        this.#taken[kind]--;
        kind = 'workload';
        this.#taken[kind]++;
        return true;
      },
      giveBack: () => {
        this.#taken[kind]--;
        if (serial !== null) this.#giveOneBack(serial);
      },
    };
  }

  #hasRoom(kind: Kind): boolean {
    if (kind === 'agent') return true;
    return this.#taken[kind] < (kind === 'stranger' ? this.#limits.strangers : this.#limits.workloads);
  }

  #takeOne(serial: string): boolean {
    const count = this.#ofCertificate.get(serial) ?? 0;
    if (count >= this.#limits.ofOneCertificate) return false;
    this.#ofCertificate.set(serial, count + 1);
    return true;
  }

  #giveOneBack(serial: string): void {
    const rest = (this.#ofCertificate.get(serial) ?? 1) - 1;
    if (rest === 0) this.#ofCertificate.delete(serial);
    else this.#ofCertificate.set(serial, rest);
  }
}

function kindOf(caller: Caller | Error): Kind {
  if (caller instanceof Error || caller.kind === 'none') return 'stranger';
  return caller.kind === 'agent' ? 'agent' : 'workload';
}
