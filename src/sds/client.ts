import { type ChannelOptions, Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { CarnetError } from '../errors.ts';
import { Secret } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type { DiscoveryRequest, DiscoveryResponse } from '../gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceService as service } from '../gen/envoy/service/secret/v3/sds.ts';
import { detailsOf } from '../grpc/error-code.ts';
import { SECRET_TYPE } from './encode.ts';

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5_000,
};

/** A small client of the secret discovery service over an agent's Unix socket. */
export class SdsClient {
  readonly #client: Client;
  readonly #node: DiscoveryRequest['node'];

  constructor(socket: string, nodeId: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), CHANNEL_OPTIONS);
    this.#node = {
      id: nodeId,
      cluster: '',
      metadata: undefined,
      userAgentName: 'carnet',
      userAgentVersionType: undefined,
    };
  }

  /** The secrets of these names, all of them. Throws `unavailable`, `timeout`, `permission_denied`. */
  fetch(names: readonly string[], timeoutMs: number): Promise<Secret[]> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        service.fetchSecrets.path,
        service.fetchSecrets.requestSerialize,
        service.fetchSecrets.responseDeserialize,
        this.#request(names),
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error !== null) reject(errorOf(error));
          else resolve(secretsOf(response as DiscoveryResponse));
        },
      );
    });
  }

  /**
   * Streams these secrets: calls `onSecrets` with all that the response holds, then acknowledges it. Resolves
   * or rejects when the stream ends; `signal` ends it.
   */
  watch(
    names: readonly string[],
    onSecrets: (secrets: Secret[]) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const stream = this.#client.makeBidiStreamRequest(
      service.streamSecrets.path,
      service.streamSecrets.requestSerialize,
      service.streamSecrets.responseDeserialize,
    );
    const cancel = (): void => stream.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    stream.write(this.#request(names));
    stream.on('data', (response: DiscoveryResponse) => {
      onSecrets(secretsOf(response));
      stream.write({
        ...this.#request(names),
        versionInfo: response.versionInfo,
        responseNonce: response.nonce,
      });
    });
    return new Promise<void>((resolve, reject) => {
      stream.on('error', (error: ServiceError) => (signal.aborted ? resolve() : reject(errorOf(error))));
      stream.on('end', resolve);
    }).finally(() => signal.removeEventListener('abort', cancel));
  }

  close(): void {
    this.#client.close();
  }

  #request(names: readonly string[]): DiscoveryRequest {
    return {
      versionInfo: '',
      node: this.#node,
      resourceNames: [...names],
      typeUrl: SECRET_TYPE,
      responseNonce: '',
      errorDetail: undefined,
    };
  }
}

function secretsOf(response: DiscoveryResponse): Secret[] {
  return response.resources.map(({ value }) => Secret.decode(value));
}

function errorOf(error: ServiceError): CarnetError {
  const options = { cause: error };
  switch (error.code) {
    case status.UNAVAILABLE:
      return new CarnetError('unavailable', detailsOf(error), options);
    case status.DEADLINE_EXCEEDED:
      return new CarnetError(
        'timeout',
        'the agent did not answer in time: try again, or see its log',
        options,
      );
    case status.PERMISSION_DENIED:
    case status.NOT_FOUND:
      return new CarnetError('permission_denied', error.details, options);
    default:
      return new CarnetError('internal', error.details, options);
  }
}
