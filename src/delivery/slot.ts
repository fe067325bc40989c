/** A certificate that an instance may present. Times are milliseconds since the epoch. */
export interface HeldCertificate {
  readonly identity: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** ID of the authority that signed it. */
  readonly authority: string;
  readonly until: number;
}

/** Where a proxy stands with the bundle, by sequence numbers. */
export interface HeldBundle {
  readonly sent: number;
  readonly sentAt: number;
  /** Null before the first acknowledgement. */
  readonly acknowledged: number | null;
  /** The last that its proxy was seen to use; null for none. */
  readonly observed: number | null;
}

/**
 * What a stream was sent of one resource, and so what its proxy may use of it: never less than it does use. A
 * value: each event makes a new one.
 */
export interface Slot {
  /** What the proxy calls itself; null where nobody knows to whom it was sent, if it was at all. */
  readonly node: string | null;
  /** Of the resource; the identity's where `node` is null. */
  readonly name: string;
  /**
   * What was acknowledged last, and then all that was sent since. A refused one stays: a proxy that refuses a
   * response may have taken one resource of it.
   */
  readonly certificates: readonly HeldCertificate[];
  readonly bundle: HeldBundle | null;
}

/** Certificates sent and not acknowledged that are told apart; of more, only their authorities are. */
const MAX_UNACKNOWLEDGED = 8;

export function emptySlot(node: string | null, name: string): Slot {
  return { node, name, certificates: [], bundle: null };
}

export function sentCertificate(slot: Slot, certificate: HeldCertificate, now: number): Slot {
  const others = slot.certificates.filter(
    ({ serial, until }) => serial !== certificate.serial && until > now,
  );
  const kept = others.length < MAX_UNACKNOWLEDGED ? others : lastOfEachAuthority(others);
  return { ...slot, certificates: [...kept, certificate] };
}

export function sentBundle(slot: Slot, sequence: number, now: number): Slot {
  return {
    ...slot,
    bundle: {
      sent: sequence,
      sentAt: now,
      acknowledged: slot.bundle?.acknowledged ?? null,
      observed: slot.bundle?.observed ?? null,
    },
  };
}

/** Whether this version may be in use by what the slot knows. */
export function isIn({ bundle, certificates }: Slot, version: string): boolean {
  return bundle !== null || certificates.some(({ serial }) => serial === version);
}

/** From now on nothing older than this version, which is in it, is used. */
export function acknowledged(slot: Slot, version: string): Slot {
  if (slot.bundle !== null) return { ...slot, bundle: { ...slot.bundle, acknowledged: sequenceOf(version) } };
  const index = slot.certificates.findIndex(({ serial }) => serial === version);
  return { ...slot, certificates: slot.certificates.slice(index) };
}

/** Its proxy was seen to use this version of the bundle. */
export function observed(slot: Slot, version: string): Slot {
  return slot.bundle === null ? slot : { ...slot, bundle: { ...slot.bundle, observed: sequenceOf(version) } };
}

/** By the names of the first, what may be in use of either. */
export function unitedSlot(a: Slot, b: Slot): Slot {
  const certificates = [...a.certificates];
  for (const one of b.certificates)
    if (!certificates.some(({ serial }) => serial === one.serial)) certificates.push(one);
  const few = certificates.length <= MAX_UNACKNOWLEDGED ? certificates : lastOfEachAuthority(certificates);
  return {
    ...a,
    certificates: few,
    bundle: a.bundle && b.bundle ? olderOf(a.bundle, b.bundle) : (a.bundle ?? b.bundle),
  };
}

function olderOf(a: HeldBundle, b: HeldBundle): HeldBundle {
  return (a.acknowledged ?? 0) <= (b.acknowledged ?? 0) ? a : b;
}

/** Whether it is a version of our own trust domain's bundle: those of others begin with a letter. */
export function isOwnBundle(version: string): boolean {
  return /^\d/.test(version);
}

/** The sequence number with which the version of a bundle begins. */
export function sequenceOf(version: string): number {
  return Number.parseInt(version, 10);
}

/** The last end among these certificates; null when there are none. */
export function lastEnd(certificates: Iterable<HeldCertificate>): number | null {
  let last: number | null = null;
  for (const { until } of certificates) last = Math.max(last ?? 0, until);
  return last;
}

/** For each authority one, with the last end among all of them. */
export function lastOfEachAuthority(certificates: Iterable<HeldCertificate>): HeldCertificate[] {
  const last = new Map<string, HeldCertificate>();
  for (const certificate of certificates) {
    const { authority, until } = certificate;
    last.set(authority, { ...certificate, until: Math.max(until, last.get(authority)?.until ?? 0) });
  }
  return [...last.values()];
}
