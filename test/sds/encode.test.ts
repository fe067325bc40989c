import test from 'ava';
import {
  DeltaDiscoveryResponse,
  DiscoveryResponse,
} from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { Any } from '../../src/gen/google/protobuf/any.ts';
import { encodeDeltaResponse, encodeStreamResponse, SECRET_TYPE } from '../../src/sds/encode.ts';
import { resourcesOf } from '../../src/sds/resources.ts';
import { TestHolder } from './holder.ts';

const resources = ['default', 'ROOTCA']
  .map((name) => resourcesOf(new TestHolder().current()).get(name))
  .filter((resource) => resource !== undefined);

test('a state-of-the-world response has the bytes that the generated encoder makes', (t) => {
  const expected = DiscoveryResponse.encode({
    versionInfo: 'v1',
    resources: resources.map(({ encoded }) => Any.decode(encoded)),
    typeUrl: SECRET_TYPE,
    nonce: '3',
  }).finish();
  t.deepEqual(encodeStreamResponse({ version: 'v1', nonce: '3', resources }), Buffer.from(expected));
});

test('a delta response has the bytes that the generated encoder makes', (t) => {
  const [resource] = resources;
  if (resource === undefined) return t.fail();
  const { name, version, encoded } = resource;
  for (const [response, fields] of [
    [
      { nonce: '3', resource, removed: [] },
      { resources: [{ name, version, resource: Any.decode(encoded) }], removedResources: [] },
    ],
    [
      { nonce: '3', resource: null, removed: ['a', 'b'] },
      { resources: [], removedResources: ['a', 'b'] },
    ],
  ] as const) {
    const message = { systemVersionInfo: '', typeUrl: SECRET_TYPE, nonce: '3' };
    const expected = DeltaDiscoveryResponse.encode({
      ...message,
      resources: [...fields.resources],
      removedResources: [...fields.removedResources],
    }).finish();
    t.deepEqual(encodeDeltaResponse(response), Buffer.from(expected));
  }
});
