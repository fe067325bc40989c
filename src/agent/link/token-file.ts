import { readSecretFile } from '../../secret-file.ts';
import type { NodeAttestor } from './node-attestor.ts';

/**
 * Attests by a token that the platform keeps fresh in a file: a Kubernetes projected service-account token, or a JWT of
 * an OIDC issuer.
 */
export function tokenFileAttestor(method: 'k8s_psat' | 'oidc', path: string): NodeAttestor {
  return {
    method,
    claim: async () => ({
      payload: Buffer.from((await readSecretFile(path)).trim(), 'utf8'),
      rootSha256: [],
      answer: null,
      onAnswered: () => undefined,
    }),
  };
}
