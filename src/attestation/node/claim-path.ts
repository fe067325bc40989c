/** A claim's value: one that a name or selector can be made of, a list of such, or nothing of the kind. */
export type ClaimValue = string | readonly string[] | null;

/**
 * The value of a claim: `sub` is a claim's name as it is, whatever it holds, and `/google/compute_engine/instance_id`
 * a JSON Pointer (RFC 6901) to one within others. Numbers and booleans come out as JSON writes them.
 */
export function claimAt(claims: unknown, path: string): ClaimValue {
  const names = path.startsWith('/')
    ? path
        .slice(1)
        .split('/')
        .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    : [path];
  let value = claims;
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return null;
    value = (value as Record<string, unknown>)[name];
  }
  if (!Array.isArray(value)) return textOf(value);
  const texts = value.map(textOf);
  return texts.every((text) => text !== null) ? texts : null;
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return null;
}
