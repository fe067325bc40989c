import type { LegalHold, LegalHolds, NewLegalHold } from '../../src/audit/legal-hold.ts';
import { CarnetError } from '../../src/errors.ts';

/** Legal holds in memory. */
export class MemoryHolds implements LegalHolds {
  readonly holds: LegalHold[] = [];

  async list(): Promise<LegalHold[]> {
    return this.holds;
  }

  async create(hold: NewLegalHold, actor: string): Promise<LegalHold> {
    const made = { ...hold, id: this.holds.length + 1, actor, createdAt: new Date(0), released: null };
    this.holds.push(made);
    return made;
  }

  async release(id: number, reason: string, actor: string): Promise<LegalHold> {
    const hold = this.holds[id - 1];
    if (hold === undefined) throw new CarnetError('not_found', `there is no legal hold ${id}`);
    return { ...hold, released: { at: new Date(1), actor, reason } };
  }
}
