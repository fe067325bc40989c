import { randomBytes } from 'node:crypto';
import type { Issuance } from '../../src/audit/issuance.ts';
import { Database } from '../../src/db/database.ts';
import { createLogger } from '../../src/log.ts';

/** What the parts under test say goes nowhere but for faults of theirs. */
export const log = createLogger('fatal');

export function openDatabase(
  url: string,
  options: { maxConnections?: number; statementTimeoutMs?: number } = {},
): Database {
  return new Database({ url, name: 'test', maxConnections: 4, log, ...options });
}

/** A leaf as it is recorded, with a random serial and whatever the test wants otherwise. */
export function issuance(fields: Partial<Issuance> = {}): Issuance {
  return {
    serial: randomBytes(16).toString('hex'),
    profile: 'x509-svid',
    identity: 'spiffe://carnet.local/web',
    dnsNames: ['web.internal'],
    notBefore: new Date('2026-03-01T00:00:00.000Z'),
    notAfter: new Date('2026-03-01T01:00:00.123Z'),
    authority: 'issuing-0a1b2c3d',
    publicKeySha256: randomBytes(32),
    certificateSha256: randomBytes(32),
    certificate: randomBytes(600),
    node: 'node-1',
    instance: 'container:0011',
    evidence: { uid: 1000, path: '/usr/bin/web' },
    entryId: 'web',
    entryVersion: 1,
    requester: 'agent:node-1',
    ...fields,
  };
}
