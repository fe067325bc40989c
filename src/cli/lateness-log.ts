import type { Logger } from '../log.ts';
import { type EndingAuthority, lateAuthorities } from '../rotation/lateness.ts';
import type { Rotation, RotationKind } from '../rotation/rotation.ts';

const WHAT = { root: 'root CA', issuing: 'issuing CA', jwt: 'key of JWT-SVIDs' } as const satisfies Record<
  RotationKind,
  string
>;
const REMEDY = { root: 'root rotate', issuing: 'doctor', jwt: 'jwt rotate' } as const satisfies Record<
  RotationKind,
  string
>;

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
  look(now: number, authorities: readonly EndingAuthority[], rotations: readonly Rotation[]): void {
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
          ? `the ${WHAT[kind]} nears its end and its rotation waits: carnet ${kind === 'jwt' ? 'jwt' : 'root'} status says for what`
          : `the ${WHAT[kind]} nears its end and no rotation is under way: carnet ${REMEDY[kind]}`,
      );
    }
    for (const id of this.#told.keys())
      if (!late.some(({ authority }) => authority.id === id)) this.#told.delete(id);
  }
}
