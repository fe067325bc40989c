import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Issue } from '../ca/issue-request.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { PostgresFleetStore } from '../db/consumers.ts';
import type { Database } from '../db/database.ts';
import type { PostgresEntryStore } from '../db/entries.ts';
import { releaseLease, takeLease } from '../db/leases.ts';
import { listMakers } from '../db/rule-entries.ts';
import type { ConsumerRecord } from '../delivery/member.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { openAccess } from '../kubernetes/access.ts';
import { ApiError, KubernetesClient } from '../kubernetes/client.ts';
import { signCertificateRequests } from '../kubernetes/csr-signer.ts';
import { signPodCertificates } from '../kubernetes/pod-certificate-signer.ts';
import { type BundlePublisher, type Published, publishBundle } from '../kubernetes/publish-bundle.ts';
import { Registration } from '../kubernetes/registration.ts';
import { DEFAULT_RULES, parseRules, type Rules, readRules } from '../kubernetes/rules.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Grant } from '../policy/entry.ts';
import { Leadership } from './leadership.ts';

export interface KubernetesOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly entries: PostgresEntryStore;
  readonly authorize: (selectors: readonly Selector[]) => readonly Grant[];
  readonly issue: Issue;
  readonly bundle: () => TrustBundle;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** The server's part in a Kubernetes cluster. */
export interface KubernetesPart extends AsyncDisposable {
  bundleChanged(): void;
}

const LEASE = 'kubernetes';
/** A rotation goes on waiting for the cluster's bundle for this long when no server tells of it. */
const KEEP_CONSUMER_MS = 60 * 60_000;
const CERTIFICATES = '/apis/certificates.k8s.io/v1beta1';

/**
 * Has one of the servers keep the entries of the rules, sign requests and publish the bundle in the cluster. Null
 * without `--kubernetes`. Throws `config_invalid`.
 */
export function startKubernetes(options: KubernetesOptions): KubernetesPart | null {
  const { config, database, log } = options;
  if (config.kubernetes === null) return null;
  const rules = rulesOf(config);
  const client = new KubernetesClient(openAccess(config.kubernetes, process.env), Math.random);
  const holder = `${hostname()}:${randomUUID()}`;
  let publisher: BundlePublisher | null = null;
  const leadership = new Leadership({
    take: (seconds) => takeLease(database, LEASE, holder, seconds),
    release: () => releaseLease(database, LEASE, holder),
    lead: async () => {
      log.info('this server looks after the Kubernetes cluster');
      const controllers = await startControllers(options, client, rules);
      publisher = controllers.publisher;
      return controllers;
    },
    log,
    now: () => performance.now(),
    random: Math.random,
  });
  return {
    bundleChanged: () => publisher?.wake(),
    [Symbol.asyncDispose]: async () => {
      await leadership[Symbol.asyncDispose]();
      client.close();
    },
  };
}

function rulesOf({ kubernetesRules: path, trustDomain }: ServerConfig): Rules {
  if (path === null) return readRules(DEFAULT_RULES, trustDomain);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CarnetError('config_invalid', `--kubernetes-rules ${path} cannot be read`, { cause });
  }
  return parseRules(text, trustDomain);
}

async function startControllers(
  options: KubernetesOptions,
  client: KubernetesClient,
  rules: Rules,
): Promise<AsyncDisposable & { readonly publisher: BundlePublisher }> {
  const { config, clock, bundle } = options;
  const served = await servedKinds(client);
  const shared = (part: string) => ({ client, onFailed: failureLog(options, part), random: Math.random });
  const signer = (part: string) => ({
    ...shared(part),
    authorize: options.authorize,
    issue: options.issue,
    signerName: config.kubernetesSigner,
    defaultTtlSeconds: config.leafTtl,
    backdateSeconds: config.notBeforeBackdate,
    now: clock,
  });
  const publisher = publishBundle({
    ...shared('bundle'),
    bundle,
    signerName: served.has('clustertrustbundles') ? config.kubernetesSigner : null,
    namespaces: config.kubernetesBundleNamespaces,
    report: clusterAsConsumer(options),
    now: clock,
  });
  const parts: { close(): Promise<void> }[] = [
    publisher,
    startRegistration(options, client, rules),
    signCertificateRequests(signer('csr')),
  ];
  if (served.has('podcertificaterequests')) parts.push(signPodCertificates(signer('pod_certificate')));
  return {
    publisher,
    [Symbol.asyncDispose]: async () => void (await Promise.all(parts.map((part) => part.close()))),
  };
}

function startRegistration(options: KubernetesOptions, client: KubernetesClient, rules: Rules): Registration {
  const { config, database, entries, clock, log } = options;
  return new Registration({
    client,
    rules,
    store: {
      makers: (prefix) => listMakers(database, prefix),
      apply: (inputs, actor) => entries.apply(inputs, actor),
      delete: (id, actor) => entries.delete(id, actor),
    },
    trustDomain: config.trustDomain,
    clock,
    onChanged: (change) => log.info(change, 'entries changed with the pods'),
    onProblem: (problem) => log.warn({ problem }, 'a rule could not be followed'),
    onFailed: failureLog(options, 'rules'),
    random: Math.random,
  });
}

/** Kinds that this API server has by now: beta ones are off by default. */
async function servedKinds(client: KubernetesClient): Promise<Set<string>> {
  try {
    const { resources } = (await client.get(CERTIFICATES)) as { resources: readonly { name: string }[] };
    return new Set(resources.map(({ name }) => name));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return new Set();
    throw error;
  }
}

/**
 * The cluster counts in rotations as one consumer that can't acknowledge: nothing signs under a new root before it is
 * published, and then kubelets have the time of `--rotation-hold` to bring it to their volumes.
 */
function clusterAsConsumer({ database, clock }: KubernetesOptions) {
  const store = new PostgresFleetStore(database, LEASE, LEASE);
  return async (published: Published | null, problem: string | null): Promise<void> => {
    const record: ConsumerRecord = {
      instance: 'kubernetes:trust-bundle',
      names: ['trust bundle in Kubernetes'],
      identities: [],
      streams: 1,
      gone: false,
      acknowledges: false,
      bundleSent: published?.sequence ?? 0,
      bundleSentAt: published?.at ?? null,
      bundleAcknowledged: null,
      bundleObserved: null,
      observesUntil: null,
      authorities: [],
      holdsUntil: null,
      problem,
      keepUntil: clock() + KEEP_CONSUMER_MS,
      held: { open: [], left: [], lasting: [], own: [], unconfirmed: null },
    };
    await store.write({ records: [record], ended: [] });
  };
}

/** The first failure in a row is worth a line, then each doubling. */
export function failureLog({ log, metrics }: Pick<KubernetesOptions, 'log' | 'metrics'>, part: string) {
  return (error: unknown, failures: number): void => {
    metrics.kubernetesFailures.inc({ part });
    if (!Number.isInteger(Math.log2(failures))) return;
    const known = errorCodeOf(error) !== 'internal';
    const fields = { part, failures, ...(known ? { reason: (error as Error).message } : { err: error }) };
    log[known ? 'warn' : 'error'](fields, 'work in the Kubernetes cluster failed; it is tried again');
  };
}
