import { readFileSync } from 'node:fs';
import type { NodeAttestor } from '../agent/server/node-attestor.ts';
import {
  type ClusterConfig,
  type IssuerConfig,
  type NodeAttestationConfig,
  readNodeAttestation,
} from '../attestation/node/config.ts';
import { createOidcAttestor, type OidcIssuer } from '../attestation/node/oidc.ts';
import { type Cluster, createServiceAccountAttestor } from '../attestation/node/service-account-token.ts';
import {
  checkedUrl,
  discoveredKeys,
  keysAt,
  keysInFile,
  type TokenKeys,
} from '../attestation/node/token-keys.ts';
import type { TokenUses } from '../attestation/node/token-uses.ts';
import { createX509popAttestor, type X509popOptions } from '../attestation/node/x509pop.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { createTokenReview } from '../kubernetes/token-review.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { decodePem } from '../x509/pem.ts';

export interface NodeAttestors extends Disposable {
  readonly attestors: readonly NodeAttestor[];
}

/** The methods that the file of `--node-attestation` asks for; none without one. Throws `config_invalid`. */
export function openNodeAttestors(
  { nodeAttestation: file, trustDomain }: Pick<ServerConfig, 'nodeAttestation' | 'trustDomain'>,
  uses: TokenUses,
  clock: Clock,
): NodeAttestors {
  const stack = new DisposableStack();
  const { x509pop, k8s_psat, oidc } = file === null ? {} : readNodeAttestation(file);
  const attestors: NodeAttestor[] = [];
  if (x509pop !== undefined) attestors.push(createX509popAttestor(x509popOf(x509pop, trustDomain, clock)));
  if (k8s_psat !== undefined)
    attestors.push(
      createServiceAccountAttestor(
        k8s_psat.map((one) => clusterOf(one, stack)),
        clock,
      ),
    );
  if (oidc !== undefined) attestors.push(createOidcAttestor(oidc.map(issuerOf), uses, clock));
  return { attestors, [Symbol.dispose]: () => stack.dispose() };
}

function x509popOf(
  { ca_file, node_name, name_prefix }: NonNullable<NodeAttestationConfig['x509pop']>,
  trustDomain: TrustDomain,
  clock: Clock,
): X509popOptions {
  const authorities = readAuthorities(ca_file);
  return { authorities, nodeName: node_name, namePrefix: name_prefix, trustDomain, clock };
}

function readAuthorities(file: string): Certificate[] {
  try {
    const authorities = decodePem('CERTIFICATE', readText(file)).map(parseCertificate);
    if (authorities.length > 0) return authorities;
  } catch (cause) {
    throw new CarnetError('config_invalid', `${file}: ${(cause as Error).message}`, { cause });
  }
  throw new CarnetError('config_invalid', `${file} has no certificate in PEM`);
}

function clusterOf(config: ClusterConfig, stack: DisposableStack): Cluster {
  const { name, name_prefix, audience, issuer = null, max_age, service_accounts, token_review } = config;
  const shared = {
    name,
    namePrefix: name_prefix,
    audience,
    issuer,
    maxAgeSeconds: max_age,
    serviceAccounts: new Set(service_accounts),
  };
  if (token_review === undefined) return { ...shared, verifier: { keys: keysOf(config, issuer ?? '') } };
  const client = new KubernetesClient(openAccess(token_review, process.env), Math.random);
  stack.defer(() => client.close());
  return { ...shared, verifier: { review: createTokenReview(client) } };
}

function issuerOf(config: IssuerConfig): OidcIssuer {
  return {
    name: config.name,
    namePrefix: config.name_prefix,
    issuer: config.issuer,
    audience: config.audience,
    algorithms: config.algorithms,
    maxAgeSeconds: config.max_age,
    nodeName: config.node_name,
    selectors: config.selectors,
    required: config.required,
    reattestable: config.reattest,
    keys: keysOf(config, config.issuer),
  };
}

function keysOf({ jwks_file, jwks_url, ca_file }: ClusterConfig | IssuerConfig, issuer: string): TokenKeys {
  if (jwks_file !== undefined) return keysInFile(jwks_file);
  const ca = ca_file === undefined ? null : readText(ca_file);
  return jwks_url === undefined ? discoveredKeys(issuer, ca) : keysAt(checkedUrl(jwks_url), ca);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CarnetError('config_invalid', `${file} can't be read (${code})`, { cause });
  }
}
