import { CarnetError } from '../errors.ts';
import { type Selector, selectorParts } from '../identity/selector.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '../identity/spiffe-id.ts';

/** `{key}` or `{type:key}`, and for selectors whose values have keys of their own `{k8s:pod-label:app}`. */
const PLACEHOLDER = /\{([a-zA-Z0-9._/-]+(?::[a-zA-Z0-9._/-]+)*)\}/g;
const SEGMENT_TEXT = /^[a-zA-Z0-9._-]+$/;
/** As for a SPIFFE ID (SPIFFE-ID §2.3). */
const MAX_TEMPLATE_BYTES = 2048;
/** Of our own parts: servers and agents know each other by it. */
const RESERVED = /^spiffe:\/\/[^/]+\/carnet(?:\/|$)/;

/**
 * Parses an entry's SPIFFE ID to its whole form: a path such as `/web` of the trust domain, or a whole ID in
 * it, either with `{placeholders}` in the path. A segment may hold one placeholder only: with two, different
 * callers could fill the same ID (`a-b` and `c`, `a` and `b-c`). Throws `entry_invalid`.
 */
export function parseIdTemplate(text: string, domain: TrustDomain): string {
  const whole = text.startsWith('/') ? `spiffe://${domain}${text}` : text;
  if (!whole.startsWith(`spiffe://${domain}/`))
    throw invalid(text, `it must be a path such as /web, or begin with spiffe://${domain}/`);
  if (whole.length > MAX_TEMPLATE_BYTES) throw invalid(text, `it is longer than ${MAX_TEMPLATE_BYTES} bytes`);
  try {
    parseSpiffeId(whole.replace(PLACEHOLDER, 'x'));
  } catch (cause) {
    if (!(cause instanceof CarnetError)) throw cause;
    throw invalid(text, cause.message, cause);
  }
  if (RESERVED.test(whole))
    throw invalid(text, 'identities under /carnet are those of Carnet itself: choose another path');
  if (
    whole
      .replace(PLACEHOLDER, '{')
      .split('/')
      .some((segment) => segment.split('{').length > 2)
  )
    throw invalid(text, 'a path segment may hold one placeholder only');
  return whole;
}

/** The ID for a caller with these selectors, or why there is none. `template` is as {@link parseIdTemplate} gave it. */
export function fillIdTemplate(
  template: string,
  selectors: readonly Selector[],
): { readonly id: SpiffeId } | { readonly fault: string } {
  const faults: string[] = [];
  const filled = template.replace(PLACEHOLDER, (placeholder, name: string) => {
    const [value, ...others] = valuesOf(name, selectors);
    if (value === undefined) faults.push(`no selector of the caller has a value for ${placeholder}`);
    else if (others.length > 0) faults.push(`the caller has ${others.length + 1} values for ${placeholder}`);
    else if (!SEGMENT_TEXT.test(value))
      faults.push(`${placeholder} would be ${JSON.stringify(value)}, which cannot stand in a path segment`);
    return value ?? '';
  });
  const [fault] = faults;
  if (fault !== undefined) return { fault };
  if (RESERVED.test(filled)) return { fault: `it would be ${filled}, which is reserved for Carnet itself` };
  try {
    return { id: parseSpiffeId(filled) };
  } catch (error) {
    if (error instanceof CarnetError) return { fault: error.message };
    throw error;
  }
}

/** Whether an identity is one of our own parts', which no entry gives. */
export function isReserved(id: SpiffeId): boolean {
  return RESERVED.test(id);
}

/** Whether a template, as {@link parseIdTemplate} gave it, can be filled to this ID by some caller. */
export function mayBecome(template: string, id: SpiffeId): boolean {
  const pattern = template
    .split(PLACEHOLDER)
    // Between the texts are the placeholders' names; of what a SPIFFE ID is written in, only the dot means more.
    .map((text, i) => (i % 2 === 0 ? text.replaceAll('.', '\\.') : '[a-zA-Z0-9._-]+'))
    .join('');
  return new RegExp(`^${pattern}$`).test(id);
}

/** The different values that selectors have for a placeholder's name. */
function valuesOf(name: string, selectors: readonly Selector[]): string[] {
  const prefix = `${name}:`;
  const values = name.includes(':')
    ? selectors.filter((one) => one.startsWith(prefix)).map((one) => one.slice(prefix.length))
    : selectors
        .map(selectorParts)
        .filter(({ key }) => key === name)
        .map(({ value }) => value);
  return [...new Set(values)];
}

function invalid(text: string, why: string, cause?: unknown): CarnetError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return new CarnetError('entry_invalid', `spiffe_id ${JSON.stringify(shown)}: ${why}`, { cause });
}
