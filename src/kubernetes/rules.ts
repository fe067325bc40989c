import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { parseDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { dnsNameFault } from '../policy/dns-name.ts';
import { parseEntry } from '../policy/parse-entry.ts';
import { labelSelectors } from './pod.ts';

/** Which pods get which identity. */
export interface Rule {
  readonly name: string;
  /** A template as entries have it, with `{k8s:…}` placeholders. */
  readonly spiffeId: string;
  /** Null for all. */
  readonly namespaces: readonly string[] | null;
  /** A pod must have all of them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the names of the Services that select a pod are its DNS names. */
  readonly serviceNames: boolean;
  readonly ttl: string | null;
}

export interface Rules {
  readonly rules: readonly Rule[];
  readonly clusterDomain: string;
  /** How long an entry stays when the last of its pods is gone. */
  readonly lingerSeconds: number;
}

/** What rules may say in place of the selectors' own names. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  namespace: 'k8s:ns',
  service_account: 'k8s:sa',
  pod_name: 'k8s:pod-name',
  node: 'k8s:node-name',
};
const LABEL_PLACEHOLDER = 'label:';

const NAME = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and dashes, at most 32');
const RULE = z.strictObject({
  name: NAME,
  spiffe_id: z.string(),
  namespaces: z
    .array(z.string().regex(/^[a-z0-9-]{1,63}$/))
    .min(1)
    .max(1000)
    .optional(),
  labels: z.record(z.string(), z.string()).default({}),
  service_names: z.boolean().default(true),
  ttl: z.string().optional(),
});
const FILE = z.strictObject({
  cluster_domain: z.string().default('cluster.local'),
  linger: z.string().default('10m'),
  rules: z.array(RULE).max(100),
});

/** Without a file: an identity for each service account. */
export const DEFAULT_RULES = {
  rules: [{ name: 'default', spiffe_id: '/ns/{namespace}/sa/{service_account}' }],
};

/** Parses the rules' file, YAML. Throws `config_invalid`, naming the rule and what is wrong with it. */
export function parseRules(text: string, domain: TrustDomain): Rules {
  let document: unknown;
  try {
    document = parseYaml(text);
  } catch (cause) {
    throw invalid(`it is not YAML: ${(cause as Error).message}`, cause);
  }
  return readRules(document, domain);
}

/** The same of what a file says. */
export function readRules(document: unknown, domain: TrustDomain): Rules {
  const parsed = FILE.safeParse(document);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error));
  const { cluster_domain: clusterDomain, linger, rules } = parsed.data;
  const fault = dnsNameFault(clusterDomain);
  if (fault !== undefined) throw invalid(`cluster_domain: ${fault}`);
  const names = rules.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw invalid(`two rules are named ${twice}`);
  return {
    clusterDomain,
    lingerSeconds: within('linger', () => parseDuration(linger)),
    rules: rules.map((rule) => ruleOf(rule, domain)),
  };
}

/** A rule is right if the entries that it makes are. */
function ruleOf(given: z.infer<typeof RULE>, domain: TrustDomain): Rule {
  const rule: Rule = {
    name: given.name,
    spiffeId: given.spiffe_id.replaceAll(/\{([^{}]*)\}/g, (_, name: string) => `{${placeholderOf(name)}}`),
    namespaces: given.namespaces ?? null,
    labels: given.labels,
    serviceNames: given.service_names,
    ttl: given.ttl ?? null,
  };
  within(`rule ${rule.name}`, () =>
    parseEntry(
      {
        spiffe_id: rule.spiffeId,
        selectors: ['k8s:ns:x', ...labelSelectors(rule.labels)],
        ...(rule.ttl !== null && { ttl: rule.ttl }),
      },
      domain,
    ),
  );
  return rule;
}

function placeholderOf(name: string): string {
  if (name.startsWith(LABEL_PLACEHOLDER)) return `k8s:pod-label:${name.slice(LABEL_PLACEHOLDER.length)}`;
  return PLACEHOLDERS[name] ?? name;
}

/** Says of what an error is. */
function within<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw invalid(`${what}: ${(cause as Error).message}`, cause);
  }
}

function invalid(why: string, cause?: unknown): CarnetError {
  return new CarnetError('config_invalid', `--kubernetes-rules: ${why}`, { cause });
}
