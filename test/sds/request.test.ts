import test from 'ava';
import {
  DeltaDiscoveryRequest,
  DiscoveryRequest,
} from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { SECRET_TYPE } from '../../src/sds/encode.ts';
import { parseDeltaRequest, parseStreamRequest, printable } from '../../src/sds/request.ts';

const request = DiscoveryRequest.decode(new Uint8Array());
const NODE = {
  id: 'a',
  cluster: 'c',
  metadata: undefined,
  userAgentName: 'envoy',
  userAgentVersionType: undefined,
};
const delta = DeltaDiscoveryRequest.decode(new Uint8Array());

test('reads a request of either variant', (t) => {
  t.deepEqual(
    parseStreamRequest({
      ...request,
      typeUrl: SECRET_TYPE,
      resourceNames: ['default'],
      versionInfo: 'v1',
      responseNonce: '1',
    }),
    {
      event: { kind: 'request', names: ['default'], version: 'v1', nonce: '1', error: null },
      node: null,
    },
  );
  t.deepEqual(
    parseDeltaRequest({
      ...delta,
      resourceNamesSubscribe: ['a'],
      resourceNamesUnsubscribe: ['b'],
      initialResourceVersions: new Map([['a', 'v1']]),
      responseNonce: '2',
      errorDetail: { code: 13, message: 'no' },
    }),
    {
      event: {
        kind: 'request',
        subscribe: ['a'],
        unsubscribe: ['b'],
        initial: new Map([['a', 'v1']]),
        nonce: '2',
        error: 'no',
      },
      node: null,
    },
  );
});

test('an empty type is implied by the method; another type than secrets is refused', (t) => {
  t.notThrows(() => parseStreamRequest(request));
  const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
  t.throws(() => parseStreamRequest({ ...request, typeUrl }), { code: 'invalid_argument' });
  t.throws(() => parseDeltaRequest({ ...delta, typeUrl }), { code: 'invalid_argument' });
});

for (const [what, node, userAgent] of [
  [
    'a build version',
    { $case: 'userAgentBuildVersion', value: { version: { majorNumber: 1, minorNumber: 40, patch: 2 } } },
    'envoy/1.40.2',
  ],
  ['a version', { $case: 'userAgentVersion', value: '9' }, 'envoy/9'],
  ['no version', undefined, 'envoy'],
] as const)
  test(`knows the user agent of a node with ${what}`, (t) => {
    const parsed = parseStreamRequest({
      ...request,
      node: { ...NODE, id: 'a\nb', userAgentVersionType: node },
    });
    t.deepEqual(parsed.node, { id: 'a b', cluster: 'c', userAgent, adminAddress: null });
  });

for (const [what, metadata, adminAddress] of [
  [
    'text',
    { carnet_admin_address: '/run/envoy/admin.sock', other: { nested: [1] } },
    '/run/envoy/admin.sock',
  ],
  ['nothing', {}, null],
  ['a number', { carnet_admin_address: 9901 }, null],
  ['longer than any address', { carnet_admin_address: 'x'.repeat(257) }, null],
] as const)
  test(`knows where a node says that its admin interface is: ${what}`, (t) => {
    const { node } = parseStreamRequest({ ...request, node: { ...NODE, metadata } });
    t.is(node?.adminAddress, adminAddress);
  });

test('an error without a message is an error all the same', (t) => {
  const { event } = parseStreamRequest({ ...request, errorDetail: { code: 13, message: '\n' } });
  t.is(event.error, 'no message (code 13)');
});

test('an error detail of 1 MiB is cut to 1 KiB, and its control characters are spaces', (t) => {
  const message = `Failed to load\r\n\u001b[31mcertificate\u202e chain ${'x'.repeat(1 << 20)}`;
  const { error } = parseStreamRequest({ ...request, errorDetail: { code: 13, message } }).event;
  t.is(error?.length, 1024);
  t.true(error?.startsWith('Failed to load [31mcertificate chain xxx'));
});

test('a cut through a surrogate pair leaves well-formed text', (t) => {
  t.true(printable('ab😀', 3).isWellFormed());
});
