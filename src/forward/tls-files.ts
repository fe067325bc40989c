import { createSecureContext } from 'node:tls';
import { CarnetError } from '../errors.ts';
import { readSecretFile } from '../secret-file.ts';

/** PEM files of the operator's: who the receiver must be, and who we are to it; null for what is not given. */
export interface TlsFiles {
  /** CAs that the receiver's certificate comes from; null: the public ones that Node.js knows. */
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

export interface TlsParts {
  readonly minVersion: 'TLSv1.2';
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Read anew for each connection: whoever renews the files tells nobody. Throws `config_invalid`. */
export async function readTlsFiles({ caFile, certFile, keyFile }: TlsFiles): Promise<TlsParts> {
  const parts: TlsParts = {
    minVersion: 'TLSv1.2',
    ...(caFile === null ? {} : { ca: await readSecretFile(caFile) }),
    ...(certFile === null ? {} : { cert: await readSecretFile(certFile) }),
    ...(keyFile === null ? {} : { key: await readSecretFile(keyFile) }),
  };
  try {
    createSecureContext(parts);
  } catch (cause) {
    const files = [caFile, certFile, keyFile].filter((file) => file !== null).join(', ');
    throw new CarnetError('config_invalid', `${files}: ${(cause as Error).message}`, { cause });
  }
  return parts;
}
