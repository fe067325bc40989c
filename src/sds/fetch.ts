import type { Holder } from '../delivery/holdings.ts';
import { CarnetError } from '../errors.ts';
import type { Resource } from './resource.ts';
import { resourcesOf } from './resources.ts';
import { checkNames } from './subscription.ts';

/**
 * All resources of these names, as soon as the caller has them: while its certificates are being issued,
 * waits for them up to `waitMs` milliseconds or until `signal` aborts.
 *
 * Throws `invalid_argument` without a name or past the limits on names; `permission_denied` for a name that the
 * caller may not have, in the same words whether or not somebody else may; `unavailable` when the wait was in
 * vain. Nothing is returned unless all is.
 */
export async function fetchResources(
  holder: Holder,
  names: readonly string[],
  { waitMs, signal, onFound }: FetchOptions,
): Promise<Resource[]> {
  const distinct = [...new Set(names)];
  if (distinct.length === 0)
    throw new CarnetError('invalid_argument', 'no resource is named: name at least one, for example default');
  checkNames(distinct);
  const over = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
  for (;;) {
    const found = held(holder, distinct);
    if (found !== undefined) {
      onFound(found);
      return found;
    }
    if (over.aborted) throw pending(holder);
    await changed(holder, over);
  }
}

interface FetchOptions {
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Called in the turn in which the caller held just these. */
  readonly onFound: (resources: readonly Resource[]) => void;
}

/** All of them; undefined while some may yet be issued. */
function held(holder: Holder, names: readonly string[]): Resource[] | undefined {
  const resources = resourcesOf(holder.current());
  const found = names.map((name) => resources.get(name)).filter((resource) => resource !== undefined);
  if (found.length === names.length) return found;
  if (!resources.complete) return undefined;
  const missing = names.filter((name) => resources.get(name) === undefined);
  throw new CarnetError(
    'permission_denied',
    `this caller holds no secret named ${JSON.stringify(missing[0]?.slice(0, 200))}: no registration entry that matches it grants one`,
  );
}

function pending(holder: Holder): CarnetError {
  const { problem } = holder.current();
  return new CarnetError(
    'unavailable',
    `this caller's certificate is not issued yet: ${problem ?? 'it is under way'}; try again`,
  );
}

/** Resolves at the next change, or when `over` aborts. */
function changed(holder: Holder, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      end();
      over.removeEventListener('abort', done);
      resolve();
    };
    const end = holder.subscribe(done);
    over.addEventListener('abort', done);
  });
}
