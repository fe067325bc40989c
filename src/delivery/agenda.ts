/** Appointments are kept to this accuracy: many share a bucket, so that looking costs nothing while none is due. */
const BUCKET_MS = 5_000;

/** When each of many things is to be looked at next: setting and taking cost by what is due, not by how many wait. */
export class Agenda {
  readonly #buckets = new Map<number, Set<string>>();
  readonly #bucketOf = new Map<string, number>();

  /** Replaces the appointment; `at` (milliseconds since the epoch) null or infinite removes it. */
  set(id: string, at: number | null): void {
    this.#remove(id);
    if (at === null || !Number.isFinite(at)) return;
    const bucket = Math.ceil(at / BUCKET_MS);
    let ids = this.#buckets.get(bucket);
    if (ids === undefined) {
      ids = new Set();
      this.#buckets.set(bucket, ids);
    }
    ids.add(id);
    this.#bucketOf.set(id, bucket);
  }

  /** Takes out all that is due, up to 5 s late. */
  take(now: number): string[] {
    const due: string[] = [];
    for (const [bucket, ids] of this.#buckets) if (bucket * BUCKET_MS <= now) due.push(...ids);
    for (const id of due) this.#remove(id);
    return due;
  }

  #remove(id: string): void {
    const bucket = this.#bucketOf.get(id);
    if (bucket === undefined) return;
    this.#bucketOf.delete(id);
    const ids = this.#buckets.get(bucket);
    ids?.delete(id);
    if (ids?.size === 0) this.#buckets.delete(bucket);
  }
}
