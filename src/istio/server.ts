import type { Metadata, Server, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { CarnetError, errorCodeOf } from '../errors.ts';
import {
  IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateServiceService as SERVICE,
} from '../gen/istio/v1/auth/ca.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import {
  type CertificateAuthorityOptions,
  type CertificateCall,
  createCertificate,
} from './create-certificate.ts';

export interface IstioServiceOptions extends CertificateAuthorityOptions {
  /** Calls under way at once; the rest is refused, and Istio's clients try again. */
  readonly maxCalls: number;
  readonly log: Logger;
}

/** The field in the request's metadata by which a node agent names whom it asks for. */
const IMPERSONATED = 'ImpersonatedIdentity';
/** Kubernetes' own tokens have some 1,500 characters. */
const MAX_TOKEN_CHARACTERS = 16_384;

/** The generated definition, but with requests that may not decode: grpc-js would call that our own failure. */
const DEFINITION = {
  createCertificate: { ...SERVICE.createCertificate, requestDeserialize: decoded },
};

type CreateCall = ServerUnaryCall<IstioCertificateRequest | null, IstioCertificateResponse>;

/** Adds `istio.v1.auth.IstioCertificateService`, so that Istio's agents and ztunnel can use us as their CA. */
export function addIstioCertificateService(
  server: Pick<Server, 'addService'>,
  options: IstioServiceOptions,
): void {
  const { maxCalls, log } = options;
  let calls = 0;
  const answer = async (call: CreateCall): Promise<IstioCertificateResponse> => {
    if (calls >= maxCalls)
      throw new CarnetError(
        'overloaded',
        `${calls} certificates are being made, which is the limit: try again`,
      );
    calls++;
    try {
      return { certChain: await createCertificate(callOf(call), options) };
    } finally {
      calls--;
    }
  };
  server.addService(DEFINITION, {
    createCertificate: (call: CreateCall, send: sendUnaryData<IstioCertificateResponse>) =>
      answer(call).then(
        (response) => send(null, response),
        (error) => {
          log[errorCodeOf(error) === 'internal' ? 'error' : 'info'](
            { err: error },
            'an Istio client was refused a certificate',
          );
          send(statusOf(error));
        },
      ),
  });
}

function callOf({ request, metadata }: CreateCall): CertificateCall {
  if (request === null) throw new CarnetError('invalid_argument', 'the request is not a valid message');
  const impersonated: unknown = request.metadata?.[IMPERSONATED];
  return {
    token: tokenOf(metadata),
    csr: request.csr,
    validityDuration: request.validityDuration,
    impersonated: typeof impersonated === 'string' && impersonated !== '' ? impersonated : null,
  };
}

function tokenOf(metadata: Metadata): string | null {
  const [value, ...more] = metadata.get('authorization');
  if (value === undefined) return null;
  const [, token] = /^bearer (\S+)$/i.exec(String(value)) ?? [];
  if (token === undefined || more.length > 0 || token.length > MAX_TOKEN_CHARACTERS)
    throw new CarnetError('unauthenticated', 'the authorization must be one bearer token');
  return token;
}

function decoded(bytes: Buffer): IstioCertificateRequest | null {
  try {
    return IstioCertificateRequest.decode(bytes);
  } catch {
    return null;
  }
}
