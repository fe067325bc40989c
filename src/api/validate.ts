import type { z } from 'zod';
import { CarnetError } from '../errors.ts';

/** Problems named in one answer; the first ones are what a caller can act on. */
const MAX_NAMED = 5;
const MAX_SHOWN_LENGTH = 80;

/** Parses what came from outside. Throws `invalid_argument`, naming each field, its value and what it must be. */
export function validate<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const named = issues.slice(0, MAX_NAMED).map((issue) => explain(issue, value));
  const more = issues.length > MAX_NAMED ? [`and ${issues.length - MAX_NAMED} more`] : [];
  throw new CarnetError('invalid_argument', `${where} is not valid: ${[...named, ...more].join('; ')}`);
}

function explain(issue: z.core.$ZodIssue, root: unknown): string {
  const field = fieldName(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.slice(0, MAX_NAMED).map((key) => fieldName([...issue.path, key]));
    return `there is no ${names.join(', ')}`;
  }
  const found = valueAt(root, issue.path);
  if (found === undefined) return `${field || 'it'} is missing`;
  return `${field || 'it'}: ${lowerFirst(issue.message)}${shown(found)}`;
}

/** `entries[3].selectors[0]`. */
function fieldName(path: readonly PropertyKey[]): string {
  const text = path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part).slice(0, MAX_SHOWN_LENGTH)}`))
    .join('');
  return text.replace(/^\./, '');
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A scalar as it was sent, cut; a list or an object would only drown the message. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return '';
  const text = JSON.stringify(value);
  return `, not ${text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text}`;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
