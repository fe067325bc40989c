import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Client,
  credentials,
  type Metadata,
  Metadata as NewMetadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { identityOf } from '../../src/cli/identity.ts';
import { writeIdentity } from '../../src/cli/write-identity.ts';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceService as service } from '../../src/gen/envoy/service/secret/v3/sds.ts';
import { SECRET_TYPE } from '../../src/sds/encode.ts';

/** What a client of SDS on a server's gRPC address shows. PEM. */
export interface Shown {
  readonly roots: string;
  readonly svid?: { readonly chain: string; readonly key: string };
  /** In the metadata of its calls. */
  readonly token?: string;
}

/** A client of SDS on a server's gRPC address, on a connection of its own. */
export class RemoteClient {
  readonly #client: Client;
  readonly #metadata: Metadata = new NewMetadata();

  constructor(address: string, { roots, svid, token }: Shown) {
    const tls = credentials.createSsl(
      Buffer.from(roots),
      svid ? Buffer.from(svid.key) : null,
      svid ? Buffer.from(svid.chain) : null,
      { checkServerIdentity: () => undefined },
    );
    this.#client = new Client(address, tls, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.ssl_target_name_override': 'carnet',
    });
    if (token !== undefined) this.#metadata.set('authorization', `Bearer ${token}`);
  }

  /** Streams these secrets, acknowledging each, until it ends; resolves to its status. */
  stream(
    names: readonly string[],
    onSecrets: (secrets: Secret[]) => void,
  ): { cancel(): void; ended: Promise<ServiceError> } {
    const call = this.#client.makeBidiStreamRequest(
      service.streamSecrets.path,
      service.streamSecrets.requestSerialize,
      service.streamSecrets.responseDeserialize,
      this.#metadata,
    );
    call.write(requestFor(names));
    call.on('data', ({ resources, versionInfo, nonce }: DiscoveryResponse) => {
      onSecrets(resources.map(({ value }) => Secret.decode(value)));
      call.write({ ...requestFor(names), versionInfo, responseNonce: nonce });
    });
    return {
      cancel: () => call.cancel(),
      ended: new Promise((resolve) => call.on('error', resolve)),
    };
  }

  fetch(...names: string[]): Promise<Secret[]> {
    return new Promise((resolve, reject) =>
      this.#client.makeUnaryRequest(
        service.fetchSecrets.path,
        service.fetchSecrets.requestSerialize,
        service.fetchSecrets.responseDeserialize,
        requestFor(names),
        this.#metadata,
        (error: ServiceError | null, response?: DiscoveryResponse) =>
          error === null
            ? resolve((response?.resources ?? []).map(({ value }) => Secret.decode(value)))
            : reject(error),
      ),
    );
  }

  close(): void {
    this.#client.close();
  }
}

/** What a directory of `carnet fetch --write` has. */
export function shownBy(directory: string): Shown {
  const text = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return { roots: text('bundle.pem'), svid: { chain: text('svid.pem'), key: text('svid.key') } };
}

/**
 * Keeps the identity in a directory fresh by SDS on the server itself, shown what is in it: as what provides a workload
 * without an agent with its certificate would.
 */
export function keepSvid(address: string, directory: string): { stop(): Promise<void> } {
  let running = true;
  let cancel = (): void => undefined;
  let written = Promise.resolve();
  const loop = (async () => {
    while (running) {
      const client = new RemoteClient(address, shownBy(directory));
      const stream = client.stream(['default', 'ROOTCA'], (secrets) => {
        const identity = identityOf(secrets);
        if (identity !== null) written = written.then(() => writeIdentity(directory, identity, Date.now()));
      });
      cancel = () => stream.cancel();
      await stream.ended;
      client.close();
      await written;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  return {
    stop: () => {
      running = false;
      cancel();
      return loop;
    },
  };
}

function requestFor(names: readonly string[]): DiscoveryRequest {
  return {
    versionInfo: '',
    node: {
      id: 'test',
      cluster: '',
      metadata: undefined,
      userAgentName: '',
      userAgentVersionType: undefined,
    },
    resourceNames: [...names],
    typeUrl: SECRET_TYPE,
    responseNonce: '',
    errorDetail: undefined,
  };
}
