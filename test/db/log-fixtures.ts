import { randomBytes } from 'node:crypto';
import { originOf } from '../../src/audit/log-key.ts';
import type { LogStore } from '../../src/audit/log-store.ts';
import type { OperatorEvent } from '../../src/audit/operator-event.ts';
import { type Sequenced, type SequenceOptions, sequence } from '../../src/audit/sequence.ts';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import type { Database } from '../../src/db/database.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { until } from '../support/until.ts';

const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));

export function sequenceOptions(store: LogStore): SequenceOptions {
  const origin = originOf(parseTrustDomain('carnet.local'));
  return { store, newKeys: keys, open: (key) => keys.open(key), origin };
}

/** Sequences all that is recorded, `size` entries. Transactions of other tests' databases can hold it up. */
export async function sequenceAll(database: Database, size: number, limit = 1000): Promise<Sequenced> {
  const options = sequenceOptions(new PostgresLog(database));
  return until(`the log has ${size} entries`, async () => {
    const turn = await sequence(options, null, limit);
    return turn?.head?.size === size ? turn : undefined;
  });
}

export function event(fields: Partial<OperatorEvent> = {}): OperatorEvent {
  const rest = { before: null, after: { a: 1 }, reason: 'test' };
  return { actor: 'operator:test', action: 'entry.create', subject: 'web', ...rest, ...fields };
}

/** A revocation of a new serial, by itself; its authority is made where it is missing. */
export async function recordRevocation(database: Database): Promise<void> {
  await database.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, not_before, not_after)
     VALUES ('issuing-0a1b2c3d', 'issuing', 'active', 'issuing-0a1b2c3d', 'ec-p256', '', now(), now())
     ON CONFLICT DO NOTHING`,
  );
  await database.query(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor)
     VALUES (uuid_send(gen_random_uuid()), 'issuing-0a1b2c3d', now(), 'keyCompromise', 'lost', 'operator:test')`,
  );
}
