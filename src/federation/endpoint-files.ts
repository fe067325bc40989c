import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { EndpointIdentity } from './serve-bundle.ts';

/** How often the files are looked at. */
const LOOK_MS = 10_000;

/**
 * An identity in two PEM files of the operator's, which are read again when they change: whoever renews them tells
 * nobody. Two that don't fit together, as in the middle of a renewal, are passed over while the last ones are known.
 * Throws `config_invalid` when the first can't be used.
 */
export function identityInFiles(certFile: string, keyFile: string, clock: Clock): () => EndpointIdentity {
  let [identity, mark, lookedAt] = [read(certFile, keyFile), markOf(certFile, keyFile), clock()];
  return () => {
    const now = clock();
    if (Math.abs(now - lookedAt) < LOOK_MS) return identity;
    lookedAt = now;
    try {
      const newest = markOf(certFile, keyFile);
      if (newest === mark) return identity;
      identity = read(certFile, keyFile);
      mark = newest;
    } catch {
      // It is looked at again.
    }
    return identity;
  };
}

function read(certFile: string, keyFile: string): EndpointIdentity {
  try {
    const identity = { chain: readFileSync(certFile, 'utf8'), privateKey: readFileSync(keyFile, 'utf8') };
    createSecureContext({ cert: identity.chain, key: identity.privateKey });
    return identity;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CarnetError('config_invalid', `${certFile} and ${keyFile} cannot be used: ${why}`, { cause });
  }
}

function markOf(...files: readonly string[]): string {
  return files
    .map((file) => statSync(file))
    .map(({ mtimeMs, size, ino }) => `${mtimeMs} ${size} ${ino}`)
    .join();
}
