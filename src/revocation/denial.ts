/** What an operator revoked, and so what is refused from then on. All fields that are given must fit. */
export interface Denial {
  readonly id: number;
  readonly identity: string | null;
  readonly instance: string | null;
  readonly node: string | null;
  readonly reason: string;
  readonly actor: string;
  readonly createdAt: Date;
  readonly liftedAt: Date | null;
}

/** Who asks for a certificate, and for which. */
export interface Bearer {
  readonly identity: string;
  readonly instance: string;
  readonly node: string | null;
}

/** The part of a denial that says whom it refuses. */
export type DenialScope = Pick<Denial, 'identity' | 'instance' | 'node' | 'liftedAt'>;

/**
 * A denial that forbids it; undefined where none does. A list is looked through once, however often it is asked of:
 * it must not change. Denials are never dropped by themselves: whether an instance still runs somewhere nobody can
 * tell for certain, and one that was revoked must not come back because its certificates have ended.
 */
export function denialOf<D extends DenialScope>(denials: readonly D[], bearer: Bearer): D | undefined {
  const index = indexOf(denials);
  for (const name of NAMES) {
    const named = bearer[name];
    const found = named === null ? undefined : index[name].get(named)?.find((denial) => fits(denial, bearer));
    if (found !== undefined) return found as D;
  }
  return undefined;
}

/** From the one that fewest bearers share on. */
const NAMES = ['instance', 'identity', 'node'] as const;

/** Denials in force, each under the first of its names. */
type Index = Readonly<Record<(typeof NAMES)[number], ReadonlyMap<string, readonly DenialScope[]>>>;

const indexes = new WeakMap<readonly DenialScope[], Index>();

function indexOf(denials: readonly DenialScope[]): Index {
  const known = indexes.get(denials);
  if (known !== undefined) return known;
  const index = { instance: new Map(), identity: new Map(), node: new Map() } as Record<
    (typeof NAMES)[number],
    Map<string, DenialScope[]>
  >;
  for (const denial of denials) {
    const name = NAMES.find((one) => denial[one] !== null);
    const named = name === undefined ? null : denial[name];
    if (name === undefined || named === null || denial.liftedAt !== null) continue;
    const others = index[name].get(named);
    if (others === undefined) index[name].set(named, [denial]);
    else others.push(denial);
  }
  indexes.set(denials, index);
  return index;
}

function fits(denial: DenialScope, bearer: Bearer): boolean {
  return NAMES.every((name) => denial[name] === null || denial[name] === bearer[name]);
}
