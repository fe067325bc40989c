import type { Logger } from '../log.ts';
import { lateAuthorities } from '../rotation/lateness.ts';
import type { PlannedAuthority } from '../rotation/plan.ts';
import type { Rotation } from '../rotation/rotation.ts';

/**
 * Says that an authority nears its end and nothing has replaced it: at a quarter of its life, and then each time that
 * what is left has halved. For a root of a year that is after nine, ten and a half, and eleven months, and so on.
 */
export class LatenessLog {
  readonly #log: Logger;
  readonly #told = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** To be called often; `now` is in milliseconds since the epoch. */
  look(now: number, authorities: readonly PlannedAuthority[], rotations: readonly Rotation[]): void {
    const late = lateAuthorities(now, authorities);
    for (const { authority, halvings } of late) {
      const { id, kind, notAfter } = authority;
      if (halvings <= (this.#told.get(id) ?? 0)) continue;
      this.#told.set(id, halvings);
      const underWay = rotations.some((rotation) => rotation.kind === kind);
      this.#log[halvings === Number.POSITIVE_INFINITY ? 'error' : 'warn'](
        {
          authority: id,
          notAfter: notAfter.toISOString(),
          secondsLeft: Math.max(0, Math.round((notAfter.getTime() - now) / 1000)),
        },
        underWay
          ? `the ${kind} CA nears its end and its rotation waits: carnet root status says for whom`
          : `the ${kind} CA nears its end and no rotation is under way: carnet ${kind === 'root' ? 'root rotate' : 'doctor'}`,
      );
    }
    for (const id of this.#told.keys())
      if (!late.some(({ authority }) => authority.id === id)) this.#told.delete(id);
  }
}
