/** Identifier octets of the ASN.1 types that X.509 needs (X.690 §8.1.2), with the constructed bit where it belongs. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** `[number]` over a primitive type, IMPLICIT. */
export function contextPrimitive(number: number): number {
  return 0x80 | number;
}

/** `[number]` over a constructed type, or EXPLICIT. */
export function contextConstructed(number: number): number {
  return 0xa0 | number;
}
