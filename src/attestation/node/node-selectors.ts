import { foundSelectors } from '../findings.ts';

/** As many as the link takes for a node; what is beyond, in their order, is left out, which can only take grants away. */
const MAX_SELECTORS = 64;

/** `node:<method>:<key>:<value>` of what was found, sorted; a value that no selector can hold makes none. */
export function nodeSelectors(found: readonly (readonly [key: string, value: string])[]): string[] {
  return foundSelectors(found.map(([key, value]) => [`node:${key}`, value])).slice(0, MAX_SELECTORS);
}
