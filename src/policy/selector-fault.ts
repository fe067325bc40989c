import { type Selector, selectorParts } from '../identity/selector.ts';

const ID: readonly [RegExp, string] = [/^(?:0|[1-9]\d{0,9})$/, 'a number'];
const NAME: readonly [RegExp, string] = [/./, 'a name'];

/** What attestation shows of the kind `unix` (attestation/unix.ts), and what its values look like. */
const UNIX = new Map<string, readonly [shape: RegExp, says: string]>([
  ['uid', ID],
  ['gid', ID],
  ['supplementary_gid', ID],
  ['user', NAME],
  ['group', NAME],
  ['path', [/^\//, 'an absolute path']],
  ['sha256', [/^[0-9a-f]{64}$/, '64 lower-case digits of hex']],
]);

/**
 * Why no caller ever shows this selector, so that an entry with it would grant nothing, without a word; undefined where
 * one may. Of kinds other than `unix`, platforms choose keys and values.
 */
export function selectorFault(selector: Selector): string | undefined {
  const { type, key, value } = selectorParts(selector);
  if (type !== 'unix') return undefined;
  const known = UNIX.get(key);
  if (known === undefined) return `there is no unix:${key}, only unix: with ${[...UNIX.keys()].join(', ')}`;
  const [shape, says] = known;
  return shape.test(value) ? undefined : `the value of unix:${key} must be ${says}`;
}
