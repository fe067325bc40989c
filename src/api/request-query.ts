import { CarnetError } from '../errors.ts';

/** Parses a query string. A parameter given twice is an error: which one was meant nobody can tell. */
export function readQuery(querystring: string): Record<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(querystring)) {
    if (query.has(name))
      throw new CarnetError('invalid_argument', `the query has ${JSON.stringify(name.slice(0, 80))} twice`);
    query.set(name, value);
  }
  return Object.fromEntries(query);
}
