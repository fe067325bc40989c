import type { Issue } from '../ca/issue-request.ts';
import { encodePem } from '../x509/pem.ts';
import { conditionOf } from './condition.ts';
import { type CertificateSigningRequest, claimOfCsr, csrOf, derOfCsr, ttlOfCsr } from './csr.ts';
import { grantOfPod, type PodAuthority, withoutGrant } from './pod-claim.ts';
import { Requests, type RequestsOptions } from './requests.ts';
import { type Answer, type RequestStatus, writeAnswer } from './write-answer.ts';

export interface SignerOptions
  extends PodAuthority,
    Pick<RequestsOptions<never>, 'onFailed' | 'random' | 'now'> {
  readonly issue: Issue;
  /** Requests for others are not looked at. */
  readonly signerName: string;
  /** For grants that name none. */
  readonly defaultTtlSeconds: number;
  readonly backdateSeconds: number;
}

const PATH = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/**
 * Approves and signs CertificateSigningRequests for our signer's name: of pods only, as their bound tokens prove them
 * to be, with the identity that the entries grant the pod. Of what they ask for only the key and the life count. A
 * certificate is on record before it is in a request's status.
 */
export function signCertificateRequests(options: SignerOptions): Requests<CertificateSigningRequest> {
  const { client, signerName, onFailed, random, now } = options;
  return new Requests({
    client,
    path: PATH,
    query: { fieldSelector: `spec.signerName=${signerName}` },
    view: csrOf,
    answer: (request, waited) => sign(request, waited, options),
    refuse: async (request, error) => {
      // A request that someone has approved can't be denied any more: it fails.
      const [type, subresource] = request.approved
        ? (['Failed', 'status'] as const)
        : (['Denied', 'approval'] as const);
      await addCondition(request, subresource, type, error.code, error.message, options);
    },
    onFailed,
    random,
    now,
  });
}

async function sign(
  request: CertificateSigningRequest,
  waited: boolean,
  options: SignerOptions,
): Promise<'answered' | 'later'> {
  const csr = derOfCsr(request);
  const claim = claimOfCsr(request);
  const { name, uid, username, extra } = request;
  const evidence = {
    kind: 'CertificateSigningRequest',
    name,
    uid,
    username,
    credential_id: extra['authentication.kubernetes.io/credential-id']?.[0] ?? null,
  };
  const granted = await grantOfPod(claim, options, evidence);
  if (granted === null && !waited) return 'later';
  if (granted === null) throw withoutGrant(claim);
  const { grant, attestation, node } = granted;
  const ttlSeconds = ttlOfCsr(request, grant.ttlSeconds ?? options.defaultTtlSeconds);
  const svid = await options.issue({
    csr,
    grant: { ...grant, ttlSeconds },
    attestation,
    node,
    requester: `kubernetes:csr/${name}`,
  });
  if (!request.approved)
    await addCondition(
      request,
      'approval',
      'Approved',
      'carnet',
      `${svid.identity} by ${grant.entryId}`,
      options,
    );
  const chain = svid.chain.map((der) => encodePem('CERTIFICATE', der)).join('');
  const certificate = Buffer.from(chain).toString('base64');
  await write(request, 'status', (status) => ({ ...status, certificate }), options);
  return 'answered';
}

/** Adds to what it says by now, if that isn't said there already. */
async function addCondition(
  request: CertificateSigningRequest,
  subresource: Answer['subresource'],
  type: string,
  reason: string,
  message: string,
  options: SignerOptions,
): Promise<void> {
  const condition = conditionOf(type, reason, message, options.now());
  const change = ({ conditions = [], ...rest }: RequestStatus): RequestStatus => ({
    ...rest,
    conditions: conditions.some((one) => one.type === type) ? conditions : [...conditions, condition],
  });
  await write(request, subresource, change, options);
}

async function write(
  { name, uid }: CertificateSigningRequest,
  subresource: Answer['subresource'],
  change: Answer['change'],
  { client }: SignerOptions,
): Promise<void> {
  await writeAnswer(client, { path: `${PATH}/${name}`, subresource, uid, view: csrOf, change });
}
