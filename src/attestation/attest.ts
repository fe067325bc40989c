import { isDeepStrictEqual } from 'node:util';
import { CarnetError } from '../errors.ts';
import { createAccounts } from './accounts.ts';
import type { Attestation } from './attestation.ts';
import { ExecutableReader } from './executable-reader.ts';
import type { Findings, WorkloadAttestor } from './findings.ts';
import type { Peer } from './peer-credentials.ts';
import { type ProcessFacts, readBootId, readProcess, readUnmappedId, TICKS_PER_SECOND } from './process.ts';
import { unixAttestation } from './unix.ts';

export interface UnixAttestorOptions {
  /** Where procfs is mounted; must show the processes that connect. */
  readonly procRoot: string;
  readonly passwdFile: string;
  readonly groupFile: string;
  /** For one caller, its turn in the queue included. */
  readonly timeoutMs: number;
  /** For reading one executable. */
  readonly readTimeoutMs: number;
  /** The platforms that are asked too. */
  readonly platforms: readonly WorkloadAttestor[];
}

/** Ours. Reading the largest executable takes about a second; a burst of callers waits for a few of them. */
export const UNIX_ATTESTOR_DEFAULTS: UnixAttestorOptions = {
  procRoot: '/proc',
  passwdFile: '/etc/passwd',
  groupFile: '/etc/group',
  timeoutMs: 10_000,
  readTimeoutMs: 5000,
  platforms: [],
};

export interface UnixAttestor {
  /**
   * Finds out who connected. What it answers is true of one process, from before the first file of /proc was
   * read until after the last. Throws `attestation_failed` when that process has ended, changed or can't be
   * seen, and `overloaded`, `timeout`, `unavailable` or `shutting_down`; then the caller may connect again. A
   * platform that can't be asked fails it too: with fewer selectors a caller could get another identity than its own.
   */
  attest(peer: Peer): Promise<Attestation>;
  close(): void;
}

/** Attests processes of this machine that connect to a Unix socket. */
export function createUnixAttestor(options: Partial<UnixAttestorOptions> = {}): UnixAttestor {
  const { procRoot, passwdFile, groupFile, timeoutMs, readTimeoutMs, platforms } = {
    ...UNIX_ATTESTOR_DEFAULTS,
    ...options,
  };
  const accounts = createAccounts(passwdFile, groupFile);
  const executables = new ExecutableReader(readTimeoutMs);
  const bootId = readBootId(procRoot);
  const unmappedId = readUnmappedId(procRoot);
  return {
    attest: async (peer) => {
      if (peer.uid === unmappedId || peer.gid === unmappedId)
        throw failed(`process ${peer.pid} has a user or group that our user namespace doesn't map`);
      const facts = readProcess(procRoot, peer.pid);
      checkIsPeer(facts, peer);
      const [executable, ...findings] = await Promise.all([
        executables.read(`${procRoot}/${peer.pid}/exe`, peer.uid, timeoutMs),
        ...platforms.map((platform) => findingsOf(platform, facts)),
      ]);
      if (!isDeepStrictEqual(readProcess(procRoot, peer.pid), facts))
        throw failed(`process ${peer.pid} changed or ended while it was looked at`);
      // Last of all: while the process lives, its number was nobody else's in any of the reads above.
      if (peer.hasExited()) throw failed(`process ${peer.pid} has ended`);
      return joined(unixAttestation(facts, executable, accounts, bootId), findings);
    },
    close: () => executables.close(),
  };
}

interface PlatformFindings {
  readonly method: string;
  readonly findings: Findings | null;
}

async function findingsOf(platform: WorkloadAttestor, facts: ProcessFacts): Promise<PlatformFindings> {
  return { method: platform.method, findings: await platform.attest(facts) };
}

function joined(unix: Attestation, platforms: readonly PlatformFindings[]): Attestation {
  const told = platforms.flatMap(({ method, findings }) => (findings === null ? [] : [{ method, findings }]));
  return {
    instance: unix.instance,
    selectors: [...unix.selectors, ...told.flatMap(({ findings }) => findings.selectors)].sort(),
    evidence: {
      ...unix.evidence,
      ...Object.fromEntries(told.map(({ method, findings }) => [method, findings.evidence])),
    },
  };
}

/**
 * Whether the process with this number can be the one that connected. A program that changed its user since
 * (by setuid, or by dropping rights) is not what the kernel vouched for.
 */
function checkIsPeer(facts: ProcessFacts, peer: Peer): void {
  if (facts.uid !== peer.uid || facts.gid !== peer.gid)
    throw failed(
      `process ${peer.pid} connected as ${peer.uid}:${peer.gid} and runs as ${facts.uid}:${facts.gid}`,
    );
  // Start times are cut to whole ticks, so the process that connected never seems to have started later.
  if ((facts.startTicks * 1000) / TICKS_PER_SECOND > peer.askedAtBootMs)
    throw failed(`process ${peer.pid} started after the one that connected`);
}

function failed(message: string): CarnetError {
  return new CarnetError('attestation_failed', message);
}
