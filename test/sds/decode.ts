import type { CertificateValidationContext } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/common.ts';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { Any } from '../../src/gen/google/protobuf/any.ts';
import { SECRET_TYPE } from '../../src/sds/encode.ts';

/** A resource's secret. Throws for anything else. */
export function secretOf(encoded: Uint8Array | undefined): Secret {
  const { typeUrl, value } = Any.decode(encoded ?? new Uint8Array());
  if (typeUrl !== SECRET_TYPE) throw new Error(`not a secret: ${typeUrl}`);
  return Secret.decode(value);
}

/** A resource's validation context; undefined for another kind of secret. */
export function contextOf(encoded: Uint8Array | undefined): CertificateValidationContext | undefined {
  const { type } = secretOf(encoded);
  return type?.$case === 'validationContext' ? type.value : undefined;
}

export function pemOf(specifier: { $case: string; value: string | Uint8Array } | undefined): string {
  return specifier?.$case === 'inlineBytes' ? Buffer.from(specifier.value).toString() : '';
}
