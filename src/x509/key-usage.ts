/** The bits of the KeyUsage extension (RFC 5280 §4.2.1.3), numbered as the ASN.1 numbers them. */
export const KEY_USAGE = {
  digitalSignature: 1 << 0,
  nonRepudiation: 1 << 1,
  keyEncipherment: 1 << 2,
  dataEncipherment: 1 << 3,
  keyAgreement: 1 << 4,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
  encipherOnly: 1 << 7,
  decipherOnly: 1 << 8,
} as const;

export type KeyUsage = keyof typeof KEY_USAGE;

/** The extension's bits for these usages. */
export function keyUsageBits(usages: readonly KeyUsage[]): number {
  return usages.reduce((bits, usage) => bits | KEY_USAGE[usage], 0);
}
