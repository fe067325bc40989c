import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { stringify } from 'yaml';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { type Cluster, startCluster } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';

export const SIGNER = 'carnet.local/workload';
export const MANIFESTS = resolve(import.meta.dirname, '../../k8s');

/** A real cluster and a real Carnet in it, with no more rights than its manifests give it. */
export interface World {
  readonly cluster: Cluster;
  /** What the API server saw: one event a line, of metadata only. */
  readonly auditLog: string;
  /** A file: of the server's own service account. */
  readonly serverKubeconfig: string;
  /** The same of another service account in the namespace `carnet`. */
  kubeconfigOfAccount(name: string): Promise<string>;
  start(...flags: string[]): Promise<CarnetProcess>;
  /** An object's current state, or null where there is none. */
  find(kind: string, name: string, namespace?: string): Promise<Found | null>;
  /** Makes a service account if need be, and a pod of it on a node, which is not run. */
  makePod(pod: PodWanted): Promise<{ readonly uid: string }>;
  /** A CertificateSigningRequest made with the token of a pod, or of its service account alone. */
  requestCertificate(request: CsrWanted): Promise<void>;
  /** Waits until a request has a certificate or a condition that ends it. */
  answer(kind: 'csr' | 'podcertificaterequest', name: string, namespace?: string): Promise<Found>;
  /** Asks the database. */
  query(statement: string): Promise<object[]>;
  close(): Promise<void>;
}

export interface Found {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: Record<string, unknown>;
  readonly data?: Record<string, string>;
  readonly status: {
    readonly conditions?: readonly { type: string; reason: string; message: string }[];
    readonly certificate?: string;
    readonly certificateChain?: string;
    readonly notBefore?: string;
    readonly notAfter?: string;
    readonly beginRefreshAt?: string;
  };
}

interface PodWanted {
  readonly namespace?: string;
  readonly name: string;
  readonly serviceAccount?: string;
  readonly labels?: Record<string, string>;
  readonly node?: string;
}

interface CsrWanted {
  readonly name: string;
  readonly namespace?: string;
  readonly pod?: string;
  readonly serviceAccount?: string;
  readonly usages?: readonly string[];
  readonly expirationSeconds?: number;
  /** PEM; by default of a new P-256 key. */
  readonly request?: string;
}

const SERVER_ACCOUNT = 'system:serviceaccount:carnet:carnet-server';
const READY = { type: 'Ready', status: 'True' };

export async function startWorld(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-world-'));
  const auditLog = join(directory, 'audit.log');
  const policy = join(directory, 'audit-policy.yaml');
  writeFileSync(
    policy,
    stringify({
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived'],
      rules: [{ level: 'Metadata', users: [SERVER_ACCOUNT] }, { level: 'None' }],
    }),
  );
  process.env.EXTRA_FLAGS = `--audit-policy-file=${policy} --audit-log-path=${auditLog} --audit-log-mode=blocking`;
  const database = await createDatabase();
  const cluster = await startCluster();
  const carnets: CarnetProcess[] = [];
  await prepare(cluster);
  const kubeconfig = await kubeconfigOfAccount(cluster, directory, 'carnet-server');

  const find = async (kind: string, name: string, namespace = 'default'): Promise<Found | null> => {
    const text = await cluster.kubectl(
      'get',
      kind,
      name,
      '-n',
      namespace,
      '--ignore-not-found',
      '-o',
      'json',
    );
    return text === '' ? null : (JSON.parse(text) as Found);
  };
  return {
    cluster,
    auditLog,
    serverKubeconfig: kubeconfig,
    kubeconfigOfAccount: (name) => kubeconfigOfAccount(cluster, directory, name),
    start: async (...flags) => {
      const carnet = await startCarnet(
        ['--no-agent', '--database-url', database.url, '--kubernetes', kubeconfig, ...flags],
        {
          CARNET_KEY_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
          CARNET_GRPC_ADDR: '127.0.0.1:0',
        },
      );
      carnets.push(carnet);
      return carnet;
    },
    find,
    makePod: async ({
      namespace = 'default',
      name,
      serviceAccount = 'default',
      labels = {},
      node = 'n1',
    }) => {
      await cluster.apply(
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
        { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: serviceAccount, namespace } },
      );
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace, labels },
        spec: {
          nodeName: node,
          serviceAccountName: serviceAccount,
          containers: [{ name: 'app', image: 'example.test/app' }],
          terminationGracePeriodSeconds: 0,
        },
      });
      const pod = await find('pod', name, namespace);
      if (pod === null) throw new Error(`no pod ${name}`);
      return { uid: pod.metadata.uid };
    },
    requestCertificate: async (request) => {
      const { name, namespace = 'default', pod, serviceAccount = 'default' } = request;
      const bound = pod === undefined ? [] : ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
      const token = (
        await cluster.kubectl('create', 'token', serviceAccount, '-n', namespace, ...bound)
      ).trim();
      const file = join(directory, `${name}.json`);
      writeFileSync(file, JSON.stringify(csrObject(request)));
      await cluster.kubectl(...anonymous(cluster, directory), '--token', token, 'create', '-f', file);
    },
    answer: (kind, name, namespace) =>
      until(`${kind} ${name} is answered`, async () => {
        const found = await find(kind, name, namespace);
        const ended = found?.status?.conditions?.some(({ type }) => type !== 'Approved') === true;
        return ended || found?.status?.certificate !== undefined ? found : null;
      }),
    query: async (statement) => {
      const client = new pg.Client(database.url);
      await client.connect();
      return client
        .query(statement)
        .then(({ rows }) => rows)
        .finally(() => client.end());
    },
    close: async () => {
      for (const carnet of carnets) await carnet[Symbol.asyncDispose]();
      await cluster.down();
      await database.drop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A new P-256 key and its PKCS#10 request, PEM. */
export function newRequest(): string {
  return encodePem('CERTIFICATE REQUEST', buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' })));
}

/** As a kubelet makes it: the key, and the pod's UID signed by it. */
export function podCertificateSpec(keyPair: { privateKey: KeyObject; publicKey: KeyObject }, podUid: string) {
  return {
    pkixPublicKey: keyPair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
    proofOfPossession: sign('sha256', Buffer.from(podUid), keyPair.privateKey).toString('base64'),
  };
}

/** A request for our signer, to be made by whoever creates it. */
export function csrObject({
  name,
  usages = ['digital signature', 'client auth'],
  expirationSeconds,
  request,
}: CsrWanted) {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: {
      signerName: SIGNER,
      usages,
      request: Buffer.from(request ?? newRequest()).toString('base64'),
      ...(expirationSeconds !== undefined && { expirationSeconds }),
    },
  };
}

/** Carnet's own rights as its manifests have them, and that any service account may ask for a certificate. */
async function prepare(cluster: Cluster): Promise<void> {
  await cluster.apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'carnet' } },
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' }, status: { conditions: [READY] } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'request-certificates' },
      rules: [
        { apiGroups: ['certificates.k8s.io'], resources: ['certificatesigningrequests'], verbs: ['create'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'request-certificates' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'request-certificates' },
      subjects: [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'system:serviceaccounts' }],
    },
  );
  await cluster.kubectl('apply', '-n', 'carnet', '-f', join(MANIFESTS, 'base/server-rbac.yaml'));
}

/** By a token of the service account. */
async function kubeconfigOfAccount(cluster: Cluster, directory: string, name: string): Promise<string> {
  const token = await cluster.kubectl('create', 'token', name, '-n', 'carnet', '--duration', '1h');
  const path = join(directory, `${name}.kubeconfig`);
  writeFileSync(path, stringify(kubeconfigOf(cluster, { token: token.trim() })), { mode: 0o600 });
  return path;
}

/** kubectl's arguments for somebody without a client certificate, which would go before a token. */
function anonymous(cluster: Cluster, directory: string): string[] {
  const path = join(directory, 'anonymous.kubeconfig');
  writeFileSync(path, stringify(kubeconfigOf(cluster, {})));
  return ['--kubeconfig', path];
}

function kubeconfigOf({ apiUrl, caFile }: Cluster, user: object) {
  const ca = readFileSync(caFile).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: apiUrl, 'certificate-authority-data': ca } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
}
