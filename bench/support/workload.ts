import type { Attestation } from '../../src/attestation/attestation.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import type { Grant, RegistrationEntry } from '../../src/policy/entry.ts';

/** What every workload of a benchmark has in common, and is granted by. */
const SELECTORS = [
  'unix:gid:1000',
  'unix:group:web',
  'unix:path:/usr/local/bin/envoy',
  `unix:sha256:${'5e'.repeat(32)}`,
  'unix:uid:1000',
  'unix:user:web',
].map(parseSelector);

/** The container `number`, as src/attestation/unix.ts would tell of it: evidence counts in a row's size. */
export function attestationOf(number: number): Attestation {
  const containerId = number.toString(16).padStart(64, '0');
  return {
    instance: `container:${containerId}`,
    selectors: [parseSelector(`container:id:${containerId}`), ...SELECTORS],
    evidence: {
      method: 'unix',
      pid: 10_000 + number,
      start_ticks: 1_000_000 + number,
      boot_id: '8f6e6c1e-58d5-4d0c-9c8e-2c3b7f4a9d10',
      name: 'envoy',
      uid: 1000,
      gid: 1000,
      supplementary_gids: [],
      executable: '/usr/local/bin/envoy',
      executable_sha256: '5e'.repeat(32),
      executable_problem: null,
      container_id: containerId,
      cgroups: [`0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-${containerId}.scope`],
    },
  };
}

/** Grants each of them an identity of its own. */
export const ENTRY: RegistrationEntry = {
  id: 'bench',
  version: 1,
  spiffeId: 'spiffe://carnet.local/bench/{container:id}',
  selectors: [parseSelector('unix:uid:1000')],
  dnsNames: ['workload.bench.internal'],
  ttlSeconds: null,
  hint: null,
  federatesWith: [],
};

/** What an entry like it grants to the container `number`. */
export function grantOf(number: number): Grant {
  return {
    entryId: ENTRY.id,
    entryVersion: ENTRY.version,
    spiffeId: parseSpiffeId(`spiffe://carnet.local/bench/workload-${number}`),
    dnsNames: [`workload-${number}.bench.internal`],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
  };
}
