import { createHash } from 'node:crypto';

/** A named, versioned secret, ready to be sent. Immutable: a change of its contents makes a new one. */
export interface Resource {
  readonly name: string;
  /** Differs if and only if the contents do, in every replica and across restarts. */
  readonly version: string;
  /** The certificate's end; null for a bundle. */
  readonly expiresAt: Date | null;
  /** A google.protobuf.Any that holds the Secret, encoded. Holds a private key: never logged. */
  readonly encoded: Uint8Array;
}

/** What one caller may have now, by name. */
export interface Resources {
  get(name: string): Resource | undefined;
  /** False while something may be missing only because it has not been issued yet. */
  readonly complete: boolean;
}

/** The version of several resources together: that of the only one, or a digest of all names and versions. */
export function versionOf(resources: readonly Resource[]): string {
  const [first, ...others] = resources;
  if (first !== undefined && others.length === 0) return first.version;
  const hash = createHash('sha256');
  for (const { name, version } of resources) hash.update(JSON.stringify([name, version]));
  return hash.digest('hex').slice(0, 16);
}
