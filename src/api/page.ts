import { z } from 'zod';
import { CarnetError } from '../errors.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** The query parameters of every list. */
export const PAGE_QUERY = {
  limit: z
    .string()
    .regex(/^(?:[1-9]\d{0,2}|1000)$/, `must be a whole number from 1 to ${MAX_LIMIT}`)
    .optional()
    .transform((text) => (text === undefined ? DEFAULT_LIMIT : Number(text)))
    .meta({
      type: 'integer',
      pattern: undefined,
      minimum: 1,
      maximum: MAX_LIMIT,
      description: `${DEFAULT_LIMIT} if not given`,
    }),
  cursor: z
    .string()
    .regex(/^[\x21-\x7e]{1,4096}$/, 'must be the next_cursor of an earlier answer')
    .optional()
    .transform((text) => text ?? null)
    .meta({ description: 'The `next_cursor` of the page before' }),
};

/** The schema of one page of `items`. */
export function pageSchema<T extends z.ZodType>(id: string, item: T) {
  return z
    .strictObject({
      items: z.array(item),
      next_cursor: z.string().nullable().meta({ description: 'For the next page; null on the last' }),
    })
    .meta({ id });
}

/**
 * Cuts one page from a whole list, which is in any order: by key, from the cursor's key on. So a page is
 * right whatever came or went since the last one. Throws `cursor_invalid`.
 */
export function cutPage<T>(
  all: readonly T[],
  keyOf: (item: T) => string,
  { limit, cursor }: { limit: number; cursor: string | null },
): { items: T[]; nextCursor: string | null } {
  const after = cursor === null ? null : parseCursor(cursor);
  const keyed = all.map((item) => ({ key: keyOf(item), item }));
  const rest = keyed.filter(({ key }) => after === null || key > after);
  rest.sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(({ item }) => item),
    nextCursor: last !== undefined && rest.length > limit ? encodeCursor(last.key) : null,
  };
}

function encodeCursor(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url');
}

/** The key of the last item of the page before. Throws `cursor_invalid`. */
export function parseCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString('utf8');
  if (encodeCursor(key) !== cursor)
    throw new CarnetError(
      'cursor_invalid',
      'the cursor is not a next_cursor of this list: begin without one',
    );
  return key;
}
