import { hash, randomBytes } from 'node:crypto';
import type { AttestedNode, NodeAttestor } from '../../agent/server/node-attestor.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import { ChainPayload } from '../../gen/carnet/agent/v1/agent.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { Certificate } from '../../x509/certificate.ts';
import { commonNamesOf } from '../../x509/common-name.ts';
import { parsePublicKey } from '../../x509/public-key.ts';
import { serialHex } from '../../x509/serial.ts';
import { printable } from '../printable.ts';
import { type MachineChain, verifyMachineChain } from './machine-chain.ts';
import { nodeNameOf } from './node-name.ts';
import { nodeSelectors } from './node-selectors.ts';
import { isAnswered, NONCE_BYTES, questionOf } from './possession.ts';

export interface X509popOptions {
  /** The CAs of machines. */
  readonly authorities: readonly Certificate[];
  /** What a node is named after: its certificate's one common name, or the certificate's SHA-256 in hex. */
  readonly nodeName: 'common_name' | 'fingerprint';
  readonly namePrefix: string;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
}

/** Five certificates of 8 KiB. */
const MAX_PAYLOAD_BYTES = 40 * 1024;

/**
 * Attests a machine by the certificate that it has of a CA which is there already: the path to the CA is validated,
 * and the machine proves that it has the key (possession.ts). It can do so again at any time. Throws
 * `attestation_failed`.
 */
export function createX509popAttestor(options: X509popOptions): NodeAttestor {
  return {
    method: 'x509pop',
    attest: async (payload, challenge) => {
      const chain = await verifyMachineChain(readPayload(payload), options.authorities, options.clock());
      await checkPossession(chain.machine, options.trustDomain, challenge);
      return nodeOf(chain, options);
    },
  };
}

function readPayload(payload: Uint8Array): Uint8Array[] {
  if (payload.length > MAX_PAYLOAD_BYTES)
    throw refused(`the chain is larger than ${MAX_PAYLOAD_BYTES} bytes`);
  try {
    return ChainPayload.decode(payload).certificates;
  } catch (cause) {
    throw refused('the payload is not a chain of certificates', cause);
  }
}

async function checkPossession(
  machine: Certificate,
  trustDomain: TrustDomain,
  challenge: (question: Uint8Array) => Promise<Uint8Array>,
): Promise<void> {
  const { key, kind } = publicKeyOf(machine);
  const nonce = randomBytes(NONCE_BYTES);
  const answer = await challenge(questionOf(nonce, trustDomain));
  if (!isAnswered(answer, nonce, { key, kind, certificate: machine.der }, trustDomain))
    throw refused("the challenge is not signed by the key of the machine's certificate");
}

function publicKeyOf(machine: Certificate) {
  try {
    return parsePublicKey(machine.spki);
  } catch (cause) {
    throw refused(`the machine's key is not taken: ${(cause as Error).message}`, cause);
  }
}

function nodeOf(chain: MachineChain, { nodeName, namePrefix }: X509popOptions): AttestedNode {
  const { machine, authorities } = chain;
  const fingerprint = fingerprintOf(machine);
  const commonNames = readCommonNames(machine);
  const [commonName, ...others] = commonNames;
  const dnsNames = machine.subjectAltName?.value.dnsNames ?? [];
  if (nodeName === 'common_name' && (commonName === undefined || others.length > 0))
    throw refused(`the machine's certificate has ${commonNames.length} common names, and its node needs one`);
  return {
    name: nodeNameOf('x509pop', namePrefix, nodeName === 'common_name' ? (commonName ?? '') : fingerprint),
    selectors: nodeSelectors([
      ...commonNames.map((name) => ['x509pop:subject-cn', name] as const),
      ['x509pop:fingerprint', fingerprint],
      ...authorities.map((authority) => ['x509pop:ca-fingerprint', fingerprintOf(authority)] as const),
      ...dnsNames.map((name) => ['x509pop:san-dns', name] as const),
    ]),
    evidence: {
      subject_cn: printable(Buffer.from(commonNames.join(', '))).slice(0, 256),
      serial: serialHex(machine.serial),
      fingerprint,
      ca_fingerprints: authorities.map(fingerprintOf),
      not_after: machine.notAfter.toISOString(),
    },
    reattestable: true,
  };
}

function readCommonNames(machine: Certificate): string[] {
  try {
    return commonNamesOf(machine.subject);
  } catch (cause) {
    throw refused(`the machine's subject is not taken: ${(cause as Error).message}`, cause);
  }
}

/** SHA-256 of the certificate, lower-case hex. */
function fingerprintOf({ der }: Certificate): string {
  return hash('sha256', der, 'hex');
}

function refused(why: string, cause?: unknown): CarnetError {
  return new CarnetError('attestation_failed', `x509pop: ${why}`, { cause });
}
