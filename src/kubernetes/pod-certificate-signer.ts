import { encodePem } from '../x509/pem.ts';
import { conditionOf } from './condition.ts';
import type { SignerOptions } from './csr-signer.ts';
import {
  beginRefreshAt,
  checkAnnotations,
  type PodCertificateRequest,
  podCertificateRequestOf,
  ttlOfPodCertificate,
} from './pod-certificate.ts';
import { grantOfPod, withoutGrant } from './pod-claim.ts';
import { Requests } from './requests.ts';
import { type RequestStatus, writeAnswer } from './write-answer.ts';

const GROUP = '/apis/certificates.k8s.io/v1beta1';
/** KEP-4317: the reason by which a kubelet's user sees that another kind of key would do. */
const REASONS: Readonly<Record<string, string>> = { key_unsupported: 'UnsupportedKeyType' };

/**
 * Signs PodCertificateRequests for our signer's name: kubelets make them for volumes of their pods, and the API server
 * sees to it that a node asks for its own only. Else as for CertificateSigningRequests.
 */
export function signPodCertificates(options: SignerOptions): Requests<PodCertificateRequest> {
  const { client, signerName, onFailed, random, now } = options;
  return new Requests({
    client,
    path: `${GROUP}/podcertificaterequests`,
    query: { fieldSelector: `spec.signerName=${signerName}` },
    view: podCertificateRequestOf,
    answer: (request, waited) => sign(request, waited, options),
    refuse: (request, { code, message }) =>
      writeStatus(request, options, {
        conditions: [conditionOf('Denied', REASONS[code] ?? code, message, options.now())],
      }),
    onFailed,
    random,
    now,
  });
}

async function sign(
  request: PodCertificateRequest,
  waited: boolean,
  options: SignerOptions,
): Promise<'answered' | 'later'> {
  checkAnnotations(request);
  const { name, uid, claim, proof } = request;
  const evidence = { kind: 'PodCertificateRequest', name, uid };
  const granted = await grantOfPod(claim, options, evidence);
  if (granted === null && !waited) return 'later';
  if (granted === null) throw withoutGrant(claim);
  const { grant, attestation, node } = granted;
  const { defaultTtlSeconds, backdateSeconds } = options;
  const ttlSeconds = ttlOfPodCertificate(request, grant.ttlSeconds ?? defaultTtlSeconds, backdateSeconds);
  const svid = await options.issue({
    csr: proof,
    grant: { ...grant, ttlSeconds },
    attestation,
    node,
    requester: `kubernetes:pcr/${claim.namespace}/${name}`,
  });
  const beginRefresh = beginRefreshAt(svid);
  await writeStatus(request, options, {
    conditions: [conditionOf('Issued', 'carnet', `${svid.identity} by ${grant.entryId}`, options.now())],
    certificateChain: svid.chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    notBefore: timeOf(svid.notBefore),
    notAfter: timeOf(svid.notAfter),
    beginRefreshAt: timeOf(beginRefresh),
  });
  return 'answered';
}

async function writeStatus(
  { namespace, name, uid }: PodCertificateRequest,
  { client }: SignerOptions,
  status: RequestStatus,
): Promise<void> {
  const path = `${GROUP}/namespaces/${namespace}/podcertificaterequests/${name}`;
  const change = (): RequestStatus => status;
  await writeAnswer(client, { path, subresource: 'status', uid, view: podCertificateRequestOf, change });
}

/** Of whole seconds, as `metav1.Time` has it. */
function timeOf(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
