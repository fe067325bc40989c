import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSync, type MessageTypeDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import test from 'ava';

const FILES = [
  'envoy/service/secret/v3/sds.proto',
  'envoy/extensions/transport_sockets/tls/v3/secret.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
] as const;
const OFFICIAL = resolve(dirname(fileURLToPath(import.meta.resolve('@grpc/grpc-js-xds'))), '../../deps');

const ours = loadSync([...FILES], {
  keepCase: true,
  includeDirs: [resolve(import.meta.dirname, '../../proto')],
});
const official = loadSync([...FILES], {
  keepCase: true,
  includeDirs: ['envoy-api', 'googleapis', 'protoc-gen-validate', 'xds'].map((name) =>
    resolve(OFFICIAL, name),
  ),
});

test('every field of our Envoy messages has the number, type and label of the official one', (t) => {
  let compared = 0;
  for (const [name, definition] of Object.entries(ours)) {
    if (!isMessage(definition)) continue;
    const theirs = official[name];
    if (!isMessage(theirs)) return t.fail(`${name} is no message of Envoy's`);
    for (const [field, facts] of fieldsOf(definition.type)) {
      t.deepEqual(facts, fieldsOf(theirs.type).get(field), `${name}.${field}`);
      compared++;
    }
  }
  t.true(compared >= 50);
});

test('every value of our Envoy enums has the number of the official one', (t) => {
  const { enumType } = messageType(ours, 'SubjectAltNameMatcher');
  const theirs = messageType(official, 'SubjectAltNameMatcher');
  t.deepEqual(valuesOf(enumType), valuesOf(theirs.enumType));
  t.is(valuesOf(enumType).get('SanType.URI'), 3);
});

test('the service has the official methods, paths, types and directions', (t) => {
  const name = 'envoy.service.secret.v3.SecretDiscoveryService';
  t.deepEqual(methodsOf(ours[name] as ServiceDefinition), methodsOf(official[name] as ServiceDefinition));
});

interface Descriptor {
  readonly name: string;
  readonly field: readonly {
    name: string;
    number: number;
    type: string;
    label: string;
    typeName: string;
  }[];
  readonly nestedType: readonly Descriptor[];
  readonly enumType: readonly { name: string; value: readonly { name: string; number: number }[] }[];
}

function isMessage(definition: unknown): definition is MessageTypeDefinition<object, object> {
  const { format } = (definition ?? {}) as { format?: string };
  return format === 'Protocol Buffer 3 DescriptorProto';
}

function messageType(from: typeof ours, name: string): Descriptor {
  const definition = from[`envoy.extensions.transport_sockets.tls.v3.${name}`];
  return (definition as MessageTypeDefinition<object, object>).type as Descriptor;
}

/** Fields by name, also those of a map's entries; a type is known by its last name, as each file may qualify it differently. */
function fieldsOf(type: object): Map<string, { number: number; type: string; label: string; of: string }> {
  const { field, nestedType } = type as Descriptor;
  const entries = nestedType.flatMap((nested) =>
    nested.field.map((each) => ({ ...each, name: `${nested.name}.${each.name}` })),
  );
  return new Map(
    [...field, ...entries].map(({ name, number, type, label, typeName }) => [
      name,
      { number, type, label, of: typeName.split('.').at(-1) ?? '' },
    ]),
  );
}

function valuesOf(enums: Descriptor['enumType']): Map<string, number> {
  return new Map(
    enums.flatMap(({ name, value }) => value.map((each) => [`${name}.${each.name}`, each.number] as const)),
  );
}

function methodsOf(service: ServiceDefinition): object {
  return Object.fromEntries(
    Object.entries(service).map(([name, { path, requestStream, responseStream, ...types }]) => {
      const { requestType, responseType } = types as unknown as Record<string, { type: Descriptor }>;
      return [
        name,
        {
          path,
          requestStream,
          responseStream,
          request: requestType?.type.name,
          response: responseType?.type.name,
        },
      ];
    }),
  );
}
