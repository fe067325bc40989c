import type { Attestation } from '../../attestation/attestation.ts';
import { CarnetError } from '../../errors.ts';
import { parseSelector } from '../../identity/selector.ts';
import { pathOf } from '../../identity/spiffe-id.ts';
import type { PeerSvid } from './peer.ts';

/** To what, and where, a certificate was issued, by its record. */
export interface IssuedTo {
  readonly instance: string | null;
  readonly node: string | null;
}

/** Asks the history of issuances, by serial; undefined for one that is not on record. Throws as the database does. */
export type FindIssued = (serial: string) => Promise<IssuedTo | undefined>;

/** A workload without an agent, and where it runs by what is on record; null where nobody knows. */
export interface RemoteWorkload {
  readonly attestation: Attestation;
  readonly node: string | null;
}

/** What no entry can grant (policy/id-template.ts): servers, agents. */
const OWN_PATH = '/carnet/';
/** Ours: certificates of which the record was read already. */
const MAX_REMEMBERED = 10_000;

/**
 * Workloads that show an X.509-SVID of ours. Each stays the instance that its certificate was issued to, so that one
 * which renews its certificate is still the same; what the record says never changes, and is asked for once.
 */
export class SvidCallers {
  readonly #find: FindIssued;
  readonly #known = new Map<string, Promise<IssuedTo | undefined>>();

  constructor(find: FindIssued) {
    this.#find = find;
  }

  /** Throws `permission_denied` for who can have nothing by its certificate; what asking throws. */
  async attest({ spiffeId, serial, address }: PeerSvid): Promise<RemoteWorkload> {
    if (pathOf(spiffeId).startsWith(OWN_PATH))
      throw new CarnetError('permission_denied', `${spiffeId} is one of Carnet's own parts, and no workload`);
    const issued = await this.#issuedTo(serial);
    if (issued === undefined || issued.instance === null)
      throw new CarnetError(
        'permission_denied',
        `certificate ${serial} is not on record as issued to an instance: nobody knows whose it is`,
      );
    return {
      attestation: {
        instance: issued.instance,
        selectors: [parseSelector(`spiffe:id:${spiffeId}`)],
        evidence: { method: 'mtls', serial, spiffe_id: spiffeId, address, node: issued.node },
      },
      node: issued.node,
    };
  }

  #issuedTo(serial: string): Promise<IssuedTo | undefined> {
    const known = this.#known.get(serial);
    if (known !== undefined) return known;
    const asked = this.#find(serial);
    this.#known.set(serial, asked);
    // What could not be told may be told at the next try.
    asked.then(
      (issued) => issued ?? this.#known.delete(serial),
      () => this.#known.delete(serial),
    );
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_REMEMBERED) break;
      this.#known.delete(oldest);
    }
    return asked;
  }
}
