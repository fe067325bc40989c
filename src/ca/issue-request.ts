import type { Attestation } from '../attestation/attestation.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { Grant } from '../policy/entry.ts';

/** One leaf, asked for by an agent on behalf of an attested instance. */
export interface IssueRequest {
  /** PKCS#10, DER. Only its public key is taken, after proof of possession. */
  readonly csr: Uint8Array;
  readonly grant: Grant;
  readonly attestation: Attestation;
  readonly node: string;
  /** As recorded: `agent:<node>`. */
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
