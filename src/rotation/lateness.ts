import type { PlannedAuthority } from './plan.ts';
import type { RotationKind } from './rotation.ts';

/** With this share of an authority's life left and less, its replacement is late: all schedules of ours come before. */
export const LATE = 1 / 4;

/** A CA, or a key that signs JWT-SVIDs. */
export interface EndingAuthority extends Pick<PlannedAuthority, 'id' | 'state' | 'notBefore' | 'notAfter'> {
  readonly kind: RotationKind;
}

/** An authority that signs and should have been replaced by now. */
export interface LateAuthority {
  readonly authority: EndingAuthority;
  /** How often the rest of its life has been halved: 2 at a quarter, 3 at an eighth; Infinity once it has ended. */
  readonly halvings: number;
}

/** Authorities that sign and near their end (now: milliseconds since the epoch): whatever is wrong, people should know. */
export function lateAuthorities(now: number, authorities: readonly EndingAuthority[]): LateAuthority[] {
  return authorities.flatMap((authority) => {
    if (authority.state !== 'active' && authority.state !== 'tainted') return [];
    const [begin, end] = [authority.notBefore.getTime(), authority.notAfter.getTime()];
    const left = Math.max(0, end - now) / (end - begin);
    return left > LATE ? [] : [{ authority, halvings: Math.floor(-Math.log2(left)) }];
  });
}
