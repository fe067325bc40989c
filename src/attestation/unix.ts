import type { Accounts } from './accounts.ts';
import type { Attestation } from './attestation.ts';
import type { Executable } from './executable.ts';
import { type Found, foundSelectors } from './findings.ts';
import type { ProcessFacts } from './process.ts';

/** Ours: selectors beyond are left out, which can only take grants away. Setting groups takes privilege. */
const MAX_SUPPLEMENTARY_GIDS = 128;
/** Evidence is stored with each issuance: its texts are cut. */
const MAX_TEXT_LENGTH = 512;
const MAX_CGROUP_LINES = 4;

/**
 * What is known of a process on this machine, as selectors and evidence.
 *
 * `unix:uid`, `unix:gid`, `unix:supplementary_gid` (and `unix:user`, `unix:group`, the names of the first two
 * in this machine's files) and `container:id` are the kernel's word, and no caller can choose them.
 * `unix:path` and `unix:sha256` tell apart programs of one user that don't work against each other: a user
 * can put code of his own into any program that he starts (LD_PRELOAD, ptrace), so they only ever narrow
 * what a uid or a container grants.
 */
export function unixAttestation(
  facts: ProcessFacts,
  executable: Executable,
  accounts: Accounts,
  bootId: string,
): Attestation {
  const gids = facts.supplementaryGids.slice(0, MAX_SUPPLEMENTARY_GIDS);
  const containerId = facts.container?.id ?? null;
  const found: Found[] = [
    ['container:id', containerId],
    ['unix:gid', facts.gid],
    ['unix:group', accounts.groupName(facts.gid)],
    ['unix:path', executable.pathIsOurs ? executable.path : null],
    ['unix:sha256', executable.sha256],
    ...gids.map((gid): Found => ['unix:supplementary_gid', gid]),
    ['unix:uid', facts.uid],
    ['unix:user', accounts.userName(facts.uid)],
  ];
  const { pid, startTicks } = facts;
  return {
    instance: containerId === null ? `process:${bootId}:${pid}:${startTicks}` : `container:${containerId}`,
    selectors: foundSelectors(found),
    evidence: {
      method: 'unix',
      pid,
      start_ticks: startTicks,
      boot_id: bootId,
      name: facts.name,
      uid: facts.uid,
      gid: facts.gid,
      supplementary_gids: gids,
      executable: cut(executable.path),
      executable_sha256: executable.sha256,
      executable_problem: cut(executable.problem),
      container_id: containerId,
      cgroups: facts.cgroups.slice(0, MAX_CGROUP_LINES).map(cut),
    },
  };
}

function cut(text: string | null): string | null {
  return text !== null && text.length > MAX_TEXT_LENGTH ? `${text.slice(0, MAX_TEXT_LENGTH)}…` : text;
}
