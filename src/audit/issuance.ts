/** One certificate as it is recorded, before it is released. Everything an auditor can later ask about it. */
export interface Issuance {
  /** Lower-case hex, 32 digits (128 bits). */
  readonly serial: string;
  /** Name of the profile (ca/profile.ts). */
  readonly profile: string;
  /** The SPIFFE ID; for a CA certificate its trust domain's ID. */
  readonly identity: string;
  readonly dnsNames: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** ID of the authority that signed it. */
  readonly authority: string;
  /** SHA-256 of the SubjectPublicKeyInfo, DER. */
  readonly publicKeySha256: Uint8Array;
  /** SHA-256 of the certificate, DER. */
  readonly certificateSha256: Uint8Array;
  /** DER. */
  readonly certificate: Uint8Array;
  /** Name of the node whose agent asked; null for CAs' and servers' certificates. */
  readonly node: string | null;
  /** The container or process instance, `pod:<uid>`, `agent:<node>` or `server:<host>`; null for CA certificates. */
  readonly instance: string | null;
  /** Attestation evidence, JSON-safe; null for CA certificates. */
  readonly evidence: Readonly<Record<string, unknown>> | null;
  /** The registration entry that granted it, as it was: with the version, its history has the whole text. */
  readonly entryId: string | null;
  readonly entryVersion: number | null;
  /** Who asked: `agent:<node>`, `server:<host>`, `kubernetes:<kind>/<name>`, `operator:<token name>`, `schedule:<name>`. */
  readonly requester: string;
}

/** Where issuances are recorded: resolves only after they are committed. */
export interface Recorder {
  /** Throws `overloaded` (queue full), `database_unavailable`, `timeout`: then nothing may be released. */
  record(issuance: Issuance): Promise<void>;
}
