import { CarnetError } from '../errors.ts';

declare const selector: unique symbol;

/** What attestation found of a caller, as `type:key:value`, for example `unix:uid:1000`. The value may hold colons. */
export type Selector = string & { readonly [selector]: true };

const SELECTOR = /^([a-z][a-z0-9_-]*):([a-zA-Z0-9._/-]+):(.+)$/su;
const MAX_SELECTOR_BYTES = 1024;
/** Would not show, or would break a line or a terminal: controls, formats, lone surrogates, separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Parses `type:key:value`, in at most 1024 bytes of UTF-8. Throws `selector_invalid`. */
export function parseSelector(text: string): Selector {
  if (Buffer.byteLength(text) > MAX_SELECTOR_BYTES)
    throw new CarnetError(
      'selector_invalid',
      `the selector that begins with ${JSON.stringify(text.slice(0, 100))} is longer than ${MAX_SELECTOR_BYTES} bytes`,
    );
  if (!SELECTOR.test(text))
    throw new CarnetError(
      'selector_invalid',
      `${JSON.stringify(text)} is not a selector: it must read type:key:value, for example unix:uid:1000`,
    );
  if (UNPRINTABLE.test(text))
    throw new CarnetError(
      'selector_invalid',
      `${JSON.stringify(text)} is not a selector: it holds a character that does not print`,
    );
  return text as Selector;
}

/** The parts of a selector: `unix:path:/bin/x` is `{type: 'unix', key: 'path', value: '/bin/x'}`. */
export function selectorParts(text: Selector): { type: string; key: string; value: string } {
  const [, type = '', key = '', value = ''] = SELECTOR.exec(text) ?? [];
  return { type, key, value };
}
