import { randomBytes } from 'node:crypto';
import type { Issuance } from '../../src/audit/issuance.ts';
import type { LogStore } from '../../src/audit/log-store.ts';
import { type SequenceOptions, sequence } from '../../src/audit/sequence.ts';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import type { Database } from '../../src/db/database.ts';
import { insertIssuances } from '../../src/db/issuances.ts';

const ROWS_A_COMMIT = 500;

export function sequenceOptions(store: LogStore): SequenceOptions {
  const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
  return { store, newKeys: keys, open: (key) => keys.open(key), origin: 'bench.local/log' };
}

/** Records issuances of the size that real ones have. */
export async function recordIssuances(database: Database, count: number): Promise<void> {
  for (let done = 0; done < count; done += ROWS_A_COMMIT)
    await insertIssuances(
      database,
      Array.from({ length: Math.min(ROWS_A_COMMIT, count - done) }, benchIssuance),
    );
}

/** Takes all that is recorded into the log, at most `turn` for a checkpoint, and returns how many that were. */
export async function sequenceRecorded(options: SequenceOptions, turn: number): Promise<number> {
  let [added, whole] = [0, false];
  while (!whole) {
    const done = await sequence(options, null, turn);
    added += done?.added ?? 0;
    whole = done?.whole ?? false;
  }
  return added;
}

export function benchIssuance(): Issuance {
  return {
    serial: randomBytes(16).toString('hex'),
    profile: 'x509-svid',
    identity: 'spiffe://bench.local/ns/default/web',
    dnsNames: ['web.internal'],
    notBefore: new Date(1_772_323_200_000),
    notAfter: new Date(1_772_326_800_000),
    authority: 'issuing-0a1b2c3d',
    publicKeySha256: randomBytes(32),
    certificateSha256: randomBytes(32),
    certificate: randomBytes(600),
    node: 'node-1',
    instance: `container:${randomBytes(32).toString('hex')}`,
    evidence: { uid: 1000, gid: 1000, pid: 1, path: '/usr/local/bin/service' },
    entryId: 'web',
    entryVersion: 1,
    requester: 'agent:node-1',
  };
}
