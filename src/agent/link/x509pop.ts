import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto';
import { answerQuestion, NONCE_BYTES } from '../../attestation/node/possession.ts';
import { CarnetError } from '../../errors.ts';
import { ChainPayload } from '../../gen/carnet/agent/v1/agent.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import { readSecretFile } from '../../secret-file.ts';
import { parseCertificate } from '../../x509/certificate.ts';
import { decodePem } from '../../x509/pem.ts';
import { parsePublicKey } from '../../x509/public-key.ts';
import type { NodeAttestor } from './node-attestor.ts';

/**
 * Attests by the certificate that a machine has of its owner's CA: shows the chain (PEM, leaf first) and answers the
 * question of a server of its trust domain with its key (PEM, PKCS#8 or the older forms).
 */
export function x509popAttestor(
  certificateFile: string,
  keyFile: string,
  trustDomain: TrustDomain,
): NodeAttestor {
  return {
    method: 'x509pop',
    claim: async () => {
      const certificates = decodePem('CERTIFICATE', await readSecretFile(certificateFile));
      const [leaf] = certificates;
      if (leaf === undefined)
        throw new CarnetError('config_invalid', `${certificateFile} has no certificate in PEM`);
      const { kind } = parsePublicKey(parseCertificate(leaf).spki);
      const key = privateKeyOf(await readSecretFile(keyFile), keyFile);
      return {
        payload: ChainPayload.encode({ certificates }).finish(),
        rootSha256: [],
        answer: (question) =>
          answerQuestion(question, { key, kind, certificate: leaf }, trustDomain, randomBytes(NONCE_BYTES)),
        onAnswered: () => undefined,
      };
    },
  };
}

function privateKeyOf(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's words might repeat what is in the file.
    throw new CarnetError('config_invalid', `${path} has no private key in PEM, or one with a passphrase`);
  }
}
