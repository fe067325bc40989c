import { resolve } from 'node:path';
import { loadSync, type MessageTypeDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import test from 'ava';

/**
 * As spiffe/spiffe has it in standards/workloadapi.proto, and go-spiffe 2.6 in proto/spiffe/workload: no package that
 * tests can install everywhere ships it. `NAME = NUMBER TYPE`; Claims and what it is made of are google.protobuf.Struct
 * (google/protobuf/struct.proto) under names of our own.
 */
const OFFICIAL = {
  X509SVIDRequest: [],
  X509SVIDResponse: [
    'svids = 1 repeated X509SVID',
    'crl = 2 repeated bytes',
    'federated_bundles = 3 map string bytes',
  ],
  X509SVID: [
    'spiffe_id = 1 string',
    'x509_svid = 2 bytes',
    'x509_svid_key = 3 bytes',
    'bundle = 4 bytes',
    'hint = 5 string',
  ],
  X509BundlesRequest: [],
  X509BundlesResponse: ['crl = 1 repeated bytes', 'bundles = 2 map string bytes'],
  JWTSVIDRequest: ['audience = 1 repeated string', 'spiffe_id = 2 string'],
  JWTSVIDResponse: ['svids = 1 repeated JWTSVID'],
  JWTSVID: ['spiffe_id = 1 string', 'svid = 2 string', 'hint = 3 string'],
  JWTBundlesRequest: [],
  JWTBundlesResponse: ['bundles = 1 map string bytes'],
  ValidateJWTSVIDRequest: ['audience = 1 string', 'svid = 2 string'],
  ValidateJWTSVIDResponse: ['spiffe_id = 1 string', 'claims = 2 Claims'],
  Claims: ['fields = 1 map string ClaimValue'],
  ClaimValue: [
    'null_value = 1 ClaimNull',
    'number_value = 2 double',
    'string_value = 3 string',
    'bool_value = 4 bool',
    'struct_value = 5 Claims',
    'list_value = 6 ClaimValues',
  ],
  ClaimValues: ['values = 1 repeated ClaimValue'],
} as const;

const METHODS = {
  FetchX509SVID: ['X509SVIDRequest', 'stream X509SVIDResponse'],
  FetchX509Bundles: ['X509BundlesRequest', 'stream X509BundlesResponse'],
  FetchJWTSVID: ['JWTSVIDRequest', 'JWTSVIDResponse'],
  FetchJWTBundles: ['JWTBundlesRequest', 'stream JWTBundlesResponse'],
  ValidateJWTSVID: ['ValidateJWTSVIDRequest', 'ValidateJWTSVIDResponse'],
} as const;

const ours = loadSync('workload.proto', {
  keepCase: true,
  includeDirs: [resolve(import.meta.dirname, '../../proto')],
});

interface Descriptor {
  readonly name: string;
  readonly field: readonly Field[];
  readonly nestedType: readonly Descriptor[];
}

interface Field {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly label: string;
  readonly typeName: string;
}

for (const [name, fields] of Object.entries(OFFICIAL))
  test(`${name} has the fields, numbers and types of the Workload API`, (t) => {
    const { type } = ours[name] as MessageTypeDefinition<object, object>;
    const { field, nestedType } = type as Descriptor;
    t.deepEqual(
      field.map((each) => describe(each, nestedType)),
      [...fields],
    );
  });

test('the service has no package, and the official methods, types and directions (§3)', (t) => {
  const service = ours.SpiffeWorkloadAPI as ServiceDefinition;
  const methods = Object.entries(service).map(([name, { path, requestStream, responseStream, ...types }]) => {
    const { requestType, responseType } = types as unknown as Record<string, { type: Descriptor }>;
    t.is(path, `/SpiffeWorkloadAPI/${name}`);
    t.false(requestStream);
    return [name, [requestType?.type.name, `${responseStream ? 'stream ' : ''}${responseType?.type.name}`]];
  });
  t.deepEqual(Object.fromEntries(methods), METHODS);
});

function describe({ name, number, type, label, typeName }: Field, nested: readonly Descriptor[]): string {
  const entry = nested.find((one) => one.name === typeName);
  if (entry !== undefined) return `${name} = ${number} map ${entry.field.map(typeOf).join(' ')}`;
  const repeated = label === 'LABEL_REPEATED' ? 'repeated ' : '';
  return `${name} = ${number} ${repeated}${typeOf({ type, typeName })}`;
}

function typeOf({ type, typeName }: Pick<Field, 'type' | 'typeName'>): string {
  return typeName === '' ? type.replace('TYPE_', '').toLowerCase() : (typeName.split('.').at(-1) ?? '');
}
