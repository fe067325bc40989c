import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { parseDuration } from '../../duration.ts';
import { CarnetError } from '../../errors.ts';
import { checkedUrl } from './token-keys.ts';
import { TOKEN_ALGORITHMS } from './verify-token.ts';

const Name = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits and inner dashes');
const NamePrefix = z
  .string()
  .regex(/^(?:[a-z0-9][a-z0-9.-]{0,62})?$/, 'lower-case letters, digits, dashes and dots, at most 63')
  .default('');
const Path = z.string().min(1);
const Audience = z.string().min(1).max(255);
const MaxAge = z.string().transform((text, context) => {
  try {
    return parseDuration(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});
const Address = z.string().refine(isChecked, 'must be an https address');
const Claim = z.string().min(1).max(256);

const X509pop = z.strictObject({
  ca_file: Path,
  node_name: z.enum(['common_name', 'fingerprint']).default('common_name'),
  name_prefix: NamePrefix,
});

const KEYS = { jwks_file: Path.optional(), jwks_url: Address.optional(), ca_file: Path.optional() };

const Cluster = z
  .strictObject({
    name: Name,
    name_prefix: NamePrefix,
    audience: Audience.default('carnet'),
    service_accounts: z
      .array(z.string().regex(/^[a-z0-9-]+\/[a-z0-9.-]+$/, 'must be NAMESPACE/NAME'))
      .min(1)
      .max(32),
    issuer: z.string().min(1).optional(),
    max_age: MaxAge.default(3600),
    /** `in-cluster`, or the path of a kubeconfig. */
    token_review: Path.optional(),
    ...KEYS,
  })
  .refine(({ token_review, jwks_file, jwks_url }) => given(token_review, jwks_file, jwks_url) <= 1, {
    message:
      'give one of token_review, jwks_file and jwks_url, or none for the keys that the issuer publishes',
  })
  .refine(({ token_review, issuer }) => token_review !== undefined || issuer !== undefined, {
    message: 'without token_review the issuer must be given, as iss has it in the tokens',
  })
  .refine(caFileHasUse, {
    message: 'ca_file is for keys that are fetched: give it without token_review and jwks_file',
  });

const Issuer = z
  .strictObject({
    name: Name,
    name_prefix: NamePrefix,
    issuer: Address,
    audience: Audience,
    algorithms: z.array(z.enum(TOKEN_ALGORITHMS)).min(1).default(['RS256', 'ES256']),
    max_age: MaxAge.default(3600),
    node_name: Claim,
    selectors: z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]*$/), Claim).default({}),
    required: z
      .record(
        Claim,
        z.union([z.string(), z.array(z.string()).min(1)]).transform((value) => [value].flat()),
      )
      .refine((claims) => Object.keys(claims).length > 0, {
        message: 'name a claim and its value: others may have tokens of the same issuer',
      }),
    reattest: z.boolean().default(false),
    ...KEYS,
  })
  .refine(({ jwks_file, jwks_url }) => given(jwks_file, jwks_url) <= 1, {
    message: 'give one of jwks_file and jwks_url, or none for the keys that the issuer publishes',
  })
  .refine(caFileHasUse, { message: 'ca_file is for keys that are fetched: give it without jwks_file' });

const Sources = z.strictObject({
  x509pop: X509pop.optional(),
  k8s_psat: z.array(Cluster).min(1).max(64).optional(),
  oidc: z.array(Issuer).min(1).max(64).optional(),
});

/** Whose nodes are let in besides those with join tokens, and how: the file of `--node-attestation`. */
export type NodeAttestationConfig = z.output<typeof Sources>;
export type ClusterConfig = z.output<typeof Cluster>;
export type IssuerConfig = z.output<typeof Issuer>;

/**
 * Reads the file of `--node-attestation`, YAML. Paths in it are relative to the file, and come out absolute. Throws
 * `config_invalid` with everything that is wrong.
 */
export function readNodeAttestation(file: string): NodeAttestationConfig {
  const { data, error } = Sources.safeParse(readYaml(file));
  if (error !== undefined) throw invalid(file, z.prettifyError(error).replace(/\s+/g, ' '));
  const [ambiguous] = ambiguities(data);
  if (ambiguous !== undefined) throw invalid(file, ambiguous);
  return absolute(data, dirname(file));
}

function readYaml(file: string): unknown {
  try {
    return parseYaml(readFileSync(file, 'utf8')) ?? {};
  } catch (error) {
    throw invalid(file, (error as Error).message);
  }
}

/** Two that could give two nodes the same name, or claim the same token. */
function ambiguities({ x509pop, k8s_psat = [], oidc = [] }: NodeAttestationConfig): string[] {
  const sources = [...(x509pop === undefined ? [] : [x509pop]), ...k8s_psat, ...oidc];
  const prefixes = sources.map(({ name_prefix }) => name_prefix);
  const found: string[] = [];
  if (prefixes.some((one, i) => prefixes.some((other, j) => i !== j && other.startsWith(one))))
    found.push(
      'with several sources of nodes each needs a name_prefix, and none may begin with another: else two nodes could get one name',
    );
  if (
    repeats(k8s_psat.map(({ issuer }) => issuer)) ||
    (k8s_psat.length > 1 && k8s_psat.some(({ issuer }) => issuer === undefined))
  )
    found.push('with several clusters each needs an issuer of its own, by which its tokens are known');
  if (repeats(oidc.map(({ issuer }) => issuer))) found.push('two entries of oidc have the same issuer');
  for (const list of [k8s_psat, oidc])
    if (repeats(list.map(({ name }) => name))) found.push('two entries have the same name');
  return found;
}

function absolute(config: NodeAttestationConfig, directory: string): NodeAttestationConfig {
  const of = (path: string | undefined) => (path === undefined ? undefined : resolve(directory, path));
  const keys = ({
    jwks_file,
    ca_file,
  }: {
    jwks_file?: string | undefined;
    ca_file?: string | undefined;
  }) => ({
    jwks_file: of(jwks_file),
    ca_file: of(ca_file),
  });
  return {
    x509pop: config.x509pop && { ...config.x509pop, ca_file: resolve(directory, config.x509pop.ca_file) },
    k8s_psat: config.k8s_psat?.map((cluster) => ({
      ...cluster,
      ...keys(cluster),
      token_review: cluster.token_review === 'in-cluster' ? 'in-cluster' : of(cluster.token_review),
    })),
    oidc: config.oidc?.map((issuer) => ({ ...issuer, ...keys(issuer) })),
  };
}

function given(...values: unknown[]): number {
  return values.filter((value) => value !== undefined).length;
}

function caFileHasUse(source: {
  token_review?: string | undefined;
  jwks_file?: string | undefined;
  ca_file?: string | undefined;
}): boolean {
  return source.ca_file === undefined || given(source.token_review, source.jwks_file) === 0;
}

function repeats(values: readonly unknown[]): boolean {
  return new Set(values).size < values.length;
}

function isChecked(text: string): boolean {
  try {
    checkedUrl(text);
    return true;
  } catch {
    return false;
  }
}

function invalid(file: string, why: string): CarnetError {
  return new CarnetError('config_invalid', `--node-attestation ${file}: ${why}`);
}
