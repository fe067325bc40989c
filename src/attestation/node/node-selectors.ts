import { foundSelectors } from '../findings.ts';

/** `node:<method>:<key>:<value>` of what was found, sorted; a value that no selector can hold makes none. */
export function nodeSelectors(found: readonly (readonly [key: string, value: string])[]): string[] {
  return foundSelectors(found.map(([key, value]) => [`node:${key}`, value]));
}
