import type { Server, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { callerOf } from '../api/rate-limit.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import {
  IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateServiceService as SERVICE,
} from '../gen/istio/v1/auth/ca.ts';
import { bearerTokenOf } from '../grpc/bearer-token.ts';
import { type Decoded, decoderOf } from '../grpc/decoded.ts';
import { Places } from '../grpc/places.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import {
  type CertificateAuthorityOptions,
  type CertificateCall,
  createCertificate,
  type TokenBearer,
} from './create-certificate.ts';

/** A call, as connections are asked for it. */
interface Peer {
  getPeer(): string;
}

export interface IstioServiceOptions extends CertificateAuthorityOptions {
  /**
   * Calls under way at once; the rest is refused, and Istio's clients try again. One address, behind which there may be
   * many, has three quarters of them: whoever shows tokens of nobody's leaves the others some.
   */
  readonly maxCalls: number;
  /** Where a call comes from. */
  readonly addressOf: (call: Peer) => string;
  /** A call's token was accepted. Throws `overloaded`. */
  readonly vouchFor: (call: Peer) => void;
  readonly log: Logger;
}

/** The field in the request's metadata by which a node agent names whom it asks for. */
const IMPERSONATED = 'ImpersonatedIdentity';

/** The generated definition, but with requests that may not decode: grpc-js would call that our own failure. */
const DEFINITION = {
  createCertificate: { ...SERVICE.createCertificate, requestDeserialize: decoderOf(IstioCertificateRequest) },
};

type CreateCall = ServerUnaryCall<Decoded<IstioCertificateRequest>, IstioCertificateResponse>;

/** Adds `istio.v1.auth.IstioCertificateService`, so that Istio's agents and ztunnel can use us as their CA. */
export function addIstioCertificateService(
  server: Pick<Server, 'addService'>,
  options: IstioServiceOptions,
): void {
  const { maxCalls, addressOf, vouchFor, log } = options;
  const places = new Places({ streams: maxCalls, streamsPerInstance: Math.ceil((maxCalls * 3) / 4) });
  const answer = async (call: CreateCall): Promise<IstioCertificateResponse> => {
    const leave = places.take(callerOf(addressOf(call)));
    try {
      const authenticate = async (token: string): Promise<TokenBearer> => {
        const bearer = await options.authenticate(token);
        vouchFor(call);
        return bearer;
      };
      return { certChain: await createCertificate(callOf(call), { ...options, authenticate }) };
    } finally {
      leave();
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

function callOf({ request: { message: request }, metadata }: CreateCall): CertificateCall {
  if (request === null) throw new CarnetError('invalid_argument', 'the request is not a valid message');
  const impersonated: unknown = request.metadata?.[IMPERSONATED];
  return {
    token: bearerTokenOf(metadata),
    csr: request.csr,
    validityDuration: request.validityDuration,
    impersonated: typeof impersonated === 'string' && impersonated !== '' ? impersonated : null,
  };
}
