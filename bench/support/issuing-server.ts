import { randomBytes } from 'node:crypto';
import { BatchRecorder, RECORDER_LIMITS } from '../../src/audit/record.ts';
import type { SigningAuthority } from '../../src/ca/authority.ts';
import { createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import { createIssue } from '../../src/ca/issue.ts';
import type { Issue } from '../../src/ca/issue-request.ts';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import type { Clock } from '../../src/clock.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';
import { startBenchDatabase } from './database.ts';

/** What issues and records in a server, wired as in src/cli/start-server.ts, without what listens. */
export interface IssuingServer extends AsyncDisposable {
  /** The root. */
  readonly bundle: TrustBundle;
  /** Resolves after the commit. */
  readonly issue: Issue;
  /** The same but for the record. */
  readonly issueUnrecorded: Issue;
  /** For files of the benchmark. */
  readonly directory: string;
  /** Of PostgreSQL's processes, all of them. */
  postgresCpuMicros(): number;
}

const TRUST_DOMAIN = parseTrustDomain('carnet.local');
const DAY_SECONDS = 86_400;
const LEAF_TTL_SECONDS = 3600;
const BACKDATE_SECONDS = 30;

/** Starts one on an embedded PostgreSQL of its own, with P-256 authorities; with it, all goes. */
export async function startIssuingServer(clock: Clock): Promise<IssuingServer> {
  await using stack = new AsyncDisposableStack();
  const { database, directory, postgresCpuMicros } = stack.use(await startBenchDatabase());
  const { root, issuing } = await createAuthorities(clock());
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(database, batch),
    RECORDER_LIMITS,
    () => performance.now(),
  );
  stack.defer(() => recorder.close());
  const options = {
    activeAuthority: () => issuing,
    clock,
    defaultTtlSeconds: LEAF_TTL_SECONDS,
    backdateSeconds: BACKDATE_SECONDS,
  };
  const owned = stack.move();
  return {
    bundle: {
      trustDomain: TRUST_DOMAIN,
      sequence: 1,
      x509Sequence: 1,
      x509Authorities: [root.certificate],
      crls: [],
      jwtAuthorities: [],
    },
    issue: createIssue({ ...options, recorder }),
    issueUnrecorded: createIssue({ ...options, recorder: { record: () => Promise.resolve() } }),
    directory,
    postgresCpuMicros,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function createAuthorities(
  now: number,
): Promise<{ root: SigningAuthority; issuing: SigningAuthority }> {
  const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
  const request = {
    trustDomain: TRUST_DOMAIN,
    keyAlgorithm: 'ec-p256',
    backdateSeconds: BACKDATE_SECONDS,
    now,
  } as const;
  const { signing: root } = await createRoot({ ...request, ttlSeconds: 365 * DAY_SECONDS }, keys);
  const { signing: issuing } = await createIssuing(root, { ...request, ttlSeconds: 7 * DAY_SECONDS }, keys);
  return { root, issuing };
}
