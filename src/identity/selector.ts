import { CarnetError } from '../errors.ts';

declare const selector: unique symbol;

/** What attestation found of a caller, as `type:key:value`, for example `unix:uid:1000`. The value may hold colons. */
export type Selector = string & { readonly [selector]: true };

const SELECTOR = /^([a-z][a-z0-9_-]*):([a-zA-Z0-9._/-]+):(.+)$/su;
const MAX_SELECTOR_BYTES = 1024;

/** Parses `type:key:value`. Throws `selector_invalid`. */
export function parseSelector(text: string): Selector {
  if (text.length > MAX_SELECTOR_BYTES)
    throw new CarnetError('selector_invalid', `a selector is longer than ${MAX_SELECTOR_BYTES} characters`);
  if (!SELECTOR.test(text) || hasControlCharacter(text))
    throw new CarnetError(
      'selector_invalid',
      `${JSON.stringify(text)} is not a selector: it must read type:key:value, for example unix:uid:1000`,
    );
  return text as Selector;
}

/** The parts of a selector: `unix:path:/bin/x` is `{type: 'unix', key: 'path', value: '/bin/x'}`. */
export function selectorParts(text: Selector): { type: string; key: string; value: string } {
  const [, type = '', key = '', value = ''] = SELECTOR.exec(text) ?? [];
  return { type, key, value };
}

function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit === 0x7f) return true;
  }
  return false;
}
