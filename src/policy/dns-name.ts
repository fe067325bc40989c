/** RFC 1123 §2.1: letters, digits and inner dashes, at most 63 to a label. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 1034 §3.1 leaves 253 for the text of a name without its last dot. */
const MAX_NAME_BYTES = 253;

/**
 * Why a text cannot be a dNSName of a leaf (RFC 5280 §4.2.1.6), or undefined. Only lower case passes. No
 * wildcards: a leaf for `*.internal` could stand in for each of its neighbours.
 */
export function dnsNameFault(text: string): string | undefined {
  if (text.length > MAX_NAME_BYTES) return `it is longer than ${MAX_NAME_BYTES} bytes`;
  if (text.includes('*')) return 'wildcards are not granted: list each name';
  const labels = text.split('.');
  if (!labels.every((label) => LABEL.test(label)))
    return 'each label must be 1 to 63 letters, digits and inner dashes (RFC 1123), other scripts in their xn-- form';
  // RFC 1123 §2.1: the last label of a name is never all digits, which is how an IPv4 address is told apart.
  if (/^\d+$/.test(labels.at(-1) ?? '')) return 'it reads like an IP address';
  return undefined;
}
