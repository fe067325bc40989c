/**
 * JSON in ASCII: it may have any character by its number (RFC 8259 §7), and then no receiver can take its encoding for
 * another one.
 */
export function toAscii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
