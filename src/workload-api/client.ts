import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  SpiffeWorkloadAPIClient as GrpcClient,
  type JWTSVID,
  type ValidateJWTSVIDResponse,
} from '../gen/workload.ts';
import { carnetErrorOf } from '../grpc/error-code.ts';
import { decodeClaims } from './claims.ts';

/** A small client of the Workload API over an agent's Unix socket. */
export class WorkloadClient {
  readonly #client: GrpcClient;

  constructor(socket: string) {
    this.#client = new GrpcClient(`unix:${socket}`, credentials.createInsecure());
  }

  /**
   * JWT-SVIDs of all identities, or of the one that is named. Throws `permission_denied`, `invalid_argument`,
   * `unavailable`, `timeout`.
   */
  async fetchJwt(audience: readonly string[], spiffeId: string, timeoutMs: number): Promise<JWTSVID[]> {
    const { svids } = await unary<{ svids: JWTSVID[] }>((done) =>
      this.#client.fetchJwtsvid({ audience: [...audience], spiffeId }, header(), until(timeoutMs), done),
    );
    return svids;
  }

  /** Throws `invalid_argument` for a token that is not valid, and as `fetchJwt` does. */
  async validateJwt(
    audience: string,
    svid: string,
    timeoutMs: number,
  ): Promise<{ spiffeId: string; claims: Record<string, unknown> }> {
    const { spiffeId, claims } = await unary<ValidateJWTSVIDResponse>((done) =>
      this.#client.validateJwtsvid({ audience, svid }, header(), until(timeoutMs), done),
    );
    return { spiffeId, claims: decodeClaims(claims) };
  }

  close(): void {
    this.#client.close();
  }
}

function header(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}

function until(timeoutMs: number): { deadline: number } {
  return { deadline: Date.now() + timeoutMs };
}

function unary<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(carnetErrorOf(error))));
  });
}
