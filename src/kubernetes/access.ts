import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { CarnetError } from '../errors.ts';

/** How a cluster's API is reached and who we are there. */
export interface ClusterAccess {
  /** `https://host:port`, without a path. */
  readonly server: URL;
  /** Whom to believe, PEM; null for the system's roots. */
  readonly ca: string | null;
  readonly clientCertificate: { readonly certPem: string; readonly keyPem: string } | null;
  /** The bearer token as it is now: a projected one is replaced on disk. Null where there is none. */
  readonly token: () => Promise<string | null>;
}

/** Where the kubelet puts a pod's own token and its cluster's CA. */
const MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** `in-cluster`, or the path of a kubeconfig. Throws `config_invalid`, saying what is missing. */
export function openAccess(where: string, env: NodeJS.ProcessEnv): ClusterAccess {
  return where === 'in-cluster' ? inClusterAccess(env) : readKubeconfig(where);
}

/** The access of a pod by its own service account. */
function inClusterAccess(env: NodeJS.ProcessEnv, mount = MOUNT): ClusterAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host === undefined || host === '')
    throw invalid('KUBERNETES_SERVICE_HOST is not set: this is no pod; give the path of a kubeconfig');
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    ca: readText(`${mount}/ca.crt`),
    clientCertificate: null,
    token: async () => (await readFile(`${mount}/token`, 'utf8')).trim(),
  };
}

const KUBECONFIG = z.object({
  'current-context': z.string(),
  clusters: z.array(
    z.object({
      name: z.string(),
      cluster: z.object({
        server: z.url({ protocol: /^https$/ }),
        'certificate-authority': z.string().optional(),
        'certificate-authority-data': z.string().optional(),
        // What we would not heed must not seem to hold.
        'insecure-skip-tls-verify': z.literal(false).optional(),
      }),
    }),
  ),
  contexts: z.array(
    z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: z.string() }) }),
  ),
  users: z.array(
    z.object({
      name: z.string(),
      // Strict: what we don't know (exec, auth-provider, password) must not pass for an anonymous user.
      user: z.strictObject({
        token: z.string().optional(),
        tokenFile: z.string().optional(),
        'client-certificate': z.string().optional(),
        'client-certificate-data': z.string().optional(),
        'client-key': z.string().optional(),
        'client-key-data': z.string().optional(),
      }),
    }),
  ),
});

/**
 * The current context of a kubeconfig, by client certificate or token. Programs that make credentials (`exec`) are
 * not run: a server has a service account.
 */
function readKubeconfig(path: string): ClusterAccess {
  const { cluster, user } = currentContext(path);
  const fileOf = (name: string): string => resolve(dirname(path), name);
  const pem = (data: string | undefined, file: string | undefined): string | null => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    return file === undefined ? null : readText(fileOf(file));
  };
  const certPem = pem(user['client-certificate-data'], user['client-certificate']);
  const keyPem = pem(user['client-key-data'], user['client-key']);
  const { token, tokenFile } = user;
  return {
    server: new URL(cluster.server),
    ca: pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
    clientCertificate: certPem === null || keyPem === null ? null : { certPem, keyPem },
    token: async () =>
      tokenFile === undefined ? (token ?? null) : (await readFile(fileOf(tokenFile), 'utf8')).trim(),
  };
}

function currentContext(path: string) {
  const parsed = KUBECONFIG.safeParse(parseYaml(readText(path)));
  if (!parsed.success)
    throw invalid(`${path} is no kubeconfig that can be used: ${z.prettifyError(parsed.error)}`);
  const { clusters, contexts, users, 'current-context': current } = parsed.data;
  const context = contexts.find(({ name }) => name === current)?.context;
  const cluster = clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = users.find(({ name }) => name === context?.user)?.user;
  if (cluster === undefined || user === undefined)
    throw invalid(`${path}: the context ${JSON.stringify(current)}, its cluster or its user is missing`);
  return { cluster, user };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw invalid(`${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, cause);
  }
}

function invalid(why: string, cause?: unknown): CarnetError {
  return new CarnetError('config_invalid', `Kubernetes: ${why}`, { cause });
}
