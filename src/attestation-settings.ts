import { CarnetError } from './errors.ts';
import { clusterOf, pathOf } from './setting-values.ts';
import { type Settings, type SettingValues, setting } from './settings.ts';

/** Where Kubernetes mounts a pod's service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Settings of whatever attests workloads: `carnet server` (its own node's), `carnet agent` and `carnet attest`. */
export const ATTESTATION_SETTINGS = {
  podsFrom: setting<string | null>(
    'pods-from',
    'WHERE',
    "who tells which pod a container is in: kubelet, in-cluster (the API server), or a kubeconfig's path (default: nobody)",
    (value) => (value === 'kubelet' ? value : clusterOf(value)),
    null,
  ),
  kubernetesNode: setting<string | null>(
    'kubernetes-node',
    'NAME',
    "this node's name in Kubernetes (default: the host name)",
    (value) => value,
    null,
  ),
  kubeletUrl: setting<URL | null>(
    'kubelet-url',
    'URL',
    "with --pods-from kubelet: where it is; http:// for its read-only port (default: https://<the node's name>:10250)",
    kubeletUrlOf,
    null,
  ),
  kubeletCaFile: setting(
    'kubelet-ca-file',
    'PATH',
    'with --pods-from kubelet: the CA of its certificate, or that certificate; PEM',
    pathOf,
    `${SERVICE_ACCOUNT}/ca.crt`,
  ),
  dockerSocket: setting<string | null>(
    'docker-socket',
    'PATH',
    "Docker's socket, for containers' labels and images (default: Docker is not asked)",
    pathOf,
    null,
  ),
} as const satisfies Settings;

export type AttestationConfig = SettingValues<typeof ATTESTATION_SETTINGS>;

/** Where the token is that kubelet knows us by. */
export const KUBELET_TOKEN_FILE = `${SERVICE_ACCOUNT}/token`;

/** Refuses settings that nothing would heed. Throws `config_invalid`. */
export function checkAttestation({ podsFrom, kubeletUrl }: AttestationConfig): void {
  if (kubeletUrl !== null && podsFrom !== 'kubelet')
    throw new CarnetError('config_invalid', '--kubelet-url needs --pods-from kubelet');
}

function kubeletUrlOf(value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.pathname !== '/')
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is no URL of a kubelet: write https://HOST:10250`,
    );
  return url;
}
