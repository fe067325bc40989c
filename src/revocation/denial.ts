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

/** The denial that forbids it; undefined where none does. */
export function denialOf<D extends DenialScope>(denials: readonly D[], bearer: Bearer): D | undefined {
  return denials.find(
    ({ identity, instance, node, liftedAt }) =>
      liftedAt === null &&
      (identity === null || identity === bearer.identity) &&
      (instance === null || instance === bearer.instance) &&
      (node === null || node === bearer.node),
  );
}
