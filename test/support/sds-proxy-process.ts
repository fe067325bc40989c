import { Client, credentials } from '@grpc/grpc-js';
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceService as service } from '../../src/gen/envoy/service/secret/v3/sds.ts';
import { SECRET_TYPE } from '../../src/sds/encode.ts';
import type { Command } from './sds-proxy.ts';

/** The program of sds-proxy.ts: SOCKET NODE. */
const [socket = '', node = ''] = process.argv.slice(2);
const INVALID_ARGUMENT = 3;

const client = new Client(`unix:${socket}`, credentials.createInsecure());
let behaviour: Command = { answer: 'nothing' };
let accepted = '';
let unanswered: DiscoveryResponse | null = null;
let stream = connect();

process.on('message', (command: Command) => {
  behaviour = command;
  if (command.reconnect === true) {
    stream.cancel();
    accepted = '';
    unanswered = null;
    stream = connect();
  } else if (unanswered !== null) answer(unanswered);
});
process.on('disconnect', () => process.exit());

function connect() {
  const opened = client.makeBidiStreamRequest(
    service.streamSecrets.path,
    service.streamSecrets.requestSerialize,
    service.streamSecrets.responseDeserialize,
  );
  opened.on('error', () => undefined);
  opened.on('data', (response: DiscoveryResponse) => {
    answer(response);
    process.send?.(response.versionInfo);
  });
  opened.write(request({}));
  return opened;
}

function answer(response: DiscoveryResponse): void {
  unanswered = response;
  if (behaviour.answer === 'nothing') return;
  unanswered = null;
  const rejected = behaviour.answer === 'reject';
  if (!rejected) accepted = response.versionInfo;
  const errorDetail = rejected
    ? { code: INVALID_ARGUMENT, message: behaviour.message ?? '', details: [] }
    : undefined;
  stream.write(request({ versionInfo: accepted, responseNonce: response.nonce, errorDetail }));
}

function request(fields: Partial<DiscoveryRequest>): DiscoveryRequest {
  return {
    versionInfo: '',
    node: {
      id: node,
      cluster: '',
      metadata: undefined,
      userAgentName: 'test',
      userAgentVersionType: undefined,
    },
    resourceNames: ['default', 'ROOTCA'],
    typeUrl: SECRET_TYPE,
    responseNonce: '',
    errorDetail: undefined,
    ...fields,
  };
}
