import { CarnetError } from '../errors.ts';
import type { Claims, ClaimValue } from '../gen/workload.ts';

/** Ours: of a token that we verified, but whose claims anybody with a key of its trust domain chose. */
const MAX_DEPTH = 16;

/** Claims, a JSON object, as the google.protobuf.Struct of a ValidateJWTSVIDResponse. Throws `invalid_argument`. */
export function encodeClaims(claims: Readonly<Record<string, unknown>>, depth = 0): Claims {
  if (depth > MAX_DEPTH)
    throw new CarnetError(
      'invalid_argument',
      `the claims of the JWT-SVID are nested deeper than ${MAX_DEPTH}`,
    );
  const fields = Object.entries(claims).map(([name, value]) => [name, encodeValue(value, depth)] as const);
  return { fields: new Map(fields) };
}

function encodeValue(value: unknown, depth: number): ClaimValue {
  if (typeof value === 'string') return { kind: { $case: 'stringValue', value } };
  if (typeof value === 'number') return { kind: { $case: 'numberValue', value } };
  if (typeof value === 'boolean') return { kind: { $case: 'boolValue', value } };
  if (Array.isArray(value)) {
    if (depth > MAX_DEPTH) return { kind: { $case: 'nullValue', value: 0 } };
    const values = value.map((item) => encodeValue(item, depth + 1));
    return { kind: { $case: 'listValue', value: { values } } };
  }
  if (typeof value === 'object' && value !== null)
    return {
      kind: { $case: 'structValue', value: encodeClaims(value as Record<string, unknown>, depth + 1) },
    };
  return { kind: { $case: 'nullValue', value: 0 } };
}

/** The JSON object that a google.protobuf.Struct stands for. */
export function decodeClaims(claims: Claims | undefined): Record<string, unknown> {
  return Object.fromEntries([...(claims?.fields ?? [])].map(([name, value]) => [name, decodeValue(value)]));
}

function decodeValue({ kind }: ClaimValue): unknown {
  switch (kind?.$case) {
    case 'structValue':
      return decodeClaims(kind.value);
    case 'listValue':
      return kind.value.values.map(decodeValue);
    case 'stringValue':
    case 'numberValue':
    case 'boolValue':
      return kind.value;
    default:
      return null;
  }
}
