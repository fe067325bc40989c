import { CarnetError } from '../errors.ts';
import type { Claims, ClaimValue } from '../gen/workload.ts';

/** Ours: of a token that we verified, but whose claims anybody with a key of its trust domain chose. */
const MAX_DEPTH = 16;

/** Claims, a JSON object, as the google.protobuf.Struct of a ValidateJWTSVIDResponse. Throws `invalid_argument`. */
export function encodeClaims(claims: Readonly<Record<string, unknown>>): Claims {
  return encodeObject(claims, 0);
}

function encodeObject(object: Readonly<Record<string, unknown>>, depth: number): Claims {
  const fields = Object.entries(object).map(
    ([name, value]) => [name, encodeValue(value, depth + 1)] as const,
  );
  return { fields: new Map(fields) };
}

function encodeValue(value: unknown, depth: number): ClaimValue {
  if (depth > MAX_DEPTH)
    throw new CarnetError(
      'invalid_argument',
      `the claims of the JWT-SVID are nested deeper than ${MAX_DEPTH}`,
    );
  switch (typeof value) {
    case 'string':
      return { kind: { $case: 'stringValue', value } };
    case 'number':
      return { kind: { $case: 'numberValue', value } };
    case 'boolean':
      return { kind: { $case: 'boolValue', value } };
  }
  if (value === null || value === undefined) return { kind: { $case: 'nullValue', value: 0 } };
  if (Array.isArray(value)) {
    const values = value.map((item) => encodeValue(item, depth + 1));
    return { kind: { $case: 'listValue', value: { values } } };
  }
  const structValue = encodeObject(value as Record<string, unknown>, depth);
  return { kind: { $case: 'structValue', value: structValue } };
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
