import type { Attestation } from '../attestation/attestation.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { Grant } from '../policy/entry.ts';
import type { PossessionProof } from './possession.ts';

/** What a leaf may say: a grant of policy; without an entry for those of our own parts. */
export type LeafGrant = Pick<Grant, 'spiffeId' | 'dnsNames' | 'ttlSeconds'> & {
  readonly entryId: string | null;
  readonly entryVersion: number | null;
};

/** One leaf, asked for by an agent on behalf of an attested instance, or by one of our own parts for itself. */
export interface IssueRequest {
  /** PKCS#10, DER, or a proof of another form. Only its public key is taken, after proof of possession. */
  readonly csr: Uint8Array | PossessionProof;
  readonly grant: LeafGrant;
  readonly attestation: Attestation;
  /** Null for a server's own. */
  readonly node: string | null;
  /** As recorded: `agent:<node>`, `sds:<node>` without one, `server:<host>`, `kubernetes:<kind>/<name>`. */
  readonly requester: string;
}

/** A recorded leaf. */
export interface IssuedSvid {
  readonly identity: SpiffeId;
  readonly serial: string;
  /** Leaf first, then its issuers without the root. DER. */
  readonly chain: readonly Uint8Array[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly authority: string;
}

/** attest → authorize → build → sign → lint → record. Resolves only after the record is committed. */
export type Issue = (request: IssueRequest) => Promise<IssuedSvid>;
