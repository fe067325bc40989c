import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** Builds and starts a real kube-apiserver; beside the checkout, with a README. */
const SCRIPTS = resolve(import.meta.dirname, '../../../shared/kubernetes');
const BUILT = process.env.CARNET_KUBERNETES ?? join(homedir(), '.cache/carnet-kubernetes');
const START_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

const run = promisify(execFile);

/** etcd and kube-apiserver of one test file, on 127.0.0.1; about 330 MB of memory. No kubelet, no scheduler. */
export interface Cluster {
  /** https, and what its certificate is verified by. */
  readonly apiUrl: string;
  readonly caFile: string;
  /** The issuer (`iss`) of service-account tokens. */
  readonly issuer: string;
  /** Of an administrator (`system:masters`), who has a client certificate. A file. */
  readonly kubeconfig: string;
  /** A bearer token that may do everything: of a service account bound to `cluster-admin`, for an hour. */
  readonly adminToken: string;
  /** Makes a client certificate for any user, a kubelet's (`system:node:n1`, `system:nodes`) too: a kubeconfig file. */
  kubeconfigOf(user: string, ...groups: string[]): Promise<string>;
  /** Runs kubectl as the administrator, or with another kubeconfig among its arguments, and answers its stdout. */
  kubectl(...args: string[]): Promise<string>;
  /** `kubectl apply` of one object or many; server-side, so that it can be said again. */
  apply(...objects: object[]): Promise<void>;
  /** Stops it and removes all that it wrote; nothing where that was done. */
  down(): Promise<void>;
}

export interface ClusterOptions {
  /** Also kube-controller-manager: service accounts of new namespaces, approval, garbage collection… */
  readonly controllers?: boolean;
  /** Key type of service-account tokens: RS256 by default, ES256. */
  readonly tokenKey?: 'rsa' | 'ec';
}

/**
 * Why there can be no cluster here, or null. Building it takes 15 to 25 minutes, which is no test's business: run
 * `../shared/kubernetes/build.sh` once. Without it these tests are to be skipped, with this reason in the log.
 */
export function clusterMissing(): string | null {
  if (!existsSync(join(SCRIPTS, 'up.sh'))) return `there is no ${SCRIPTS}/up.sh`;
  const bin = join(BUILT, 'bin');
  const isBuilt =
    existsSync(join(bin, 'etcd')) &&
    existsSync(join(bin, 'kubectl')) &&
    readdirSync(bin).some((name) => name.startsWith('cluster-'));
  return isBuilt ? null : `no kube-apiserver in ${bin}; ${SCRIPTS}/build.sh builds it`;
}

/** Starts a fresh cluster, in about 6 s on a quiet machine. To be taken down in `test.after.always`. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const state = mkdtempSync(join(tmpdir(), 'carnet-kubernetes-'));
  const env = {
    ...process.env,
    STATE: state,
    KCM: options.controllers === true ? '1' : '0',
    SA_KEY: options.tokenKey ?? 'rsa',
  };
  const down = async (): Promise<void> => {
    if (!existsSync(state)) return;
    await run(join(SCRIPTS, 'down.sh'), [state], { env, timeout: COMMAND_TIMEOUT_MS });
    rmSync(state, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const { stdout } = await run(join(SCRIPTS, 'up.sh'), [], { env, timeout: START_TIMEOUT_MS });
    return await clusterOf(state, parseLines(stdout), down);
  } catch (error) {
    await down();
    throw error;
  }
}

async function clusterOf(
  state: string,
  told: ReadonlyMap<string, string>,
  down: () => Promise<void>,
): Promise<Cluster> {
  const setting = (name: string): string => {
    const value = told.get(name);
    if (value === undefined) throw new Error(`up.sh told no ${name}`);
    return value;
  };
  const kubeconfig = setting('KUBECONFIG');
  const files = join(state, 'tests');
  mkdirSync(files);
  const newFile = (content: string): string => {
    const path = join(files, randomBytes(6).toString('hex'));
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const kubectl = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(join(setting('BIN'), 'kubectl'), args, {
      env: { ...process.env, KUBECONFIG: kubeconfig, HOME: state },
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
    });
    return stdout;
  };
  const apply = async (...items: object[]): Promise<void> => {
    const list = newFile(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    await kubectl('apply', '--server-side', '-f', list);
  };
  return {
    apiUrl: setting('API_URL'),
    caFile: setting('CA_FILE'),
    issuer: setting('SA_ISSUER'),
    kubeconfig,
    adminToken: await makeAdminToken(apply, kubectl),
    kubeconfigOf: async (user, ...groups) => {
      const args = [state, user, ...groups];
      const { stdout } = await run(join(SCRIPTS, 'user.sh'), args, { timeout: COMMAND_TIMEOUT_MS });
      return newFile(stdout);
    },
    kubectl,
    apply,
    down,
  };
}

async function makeAdminToken(apply: Cluster['apply'], kubectl: Cluster['kubectl']): Promise<string> {
  const name = 'carnet-test-admin';
  await apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'default' } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
    },
  );
  return (await kubectl('create', 'token', name, '--namespace', 'default', '--duration', '1h')).trim();
}

function parseLines(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line.includes('='));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}
