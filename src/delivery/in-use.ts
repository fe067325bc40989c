/** A certificate as a proxy shows it. */
export interface ShownCertificate {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly uris: readonly string[];
}

/** One TLS configuration that a proxy verifies and presents by: each listener and cluster has its own. */
export interface TlsContext {
  /** What it trusts. */
  readonly roots: readonly ShownCertificate[];
  /** What it presents; its issuers may be among them. */
  readonly chain: readonly ShownCertificate[];
}

/** What a proxy must be seen to use. Serials as in {@link ShownCertificate}. */
export type Expected =
  | { readonly kind: 'leaf'; readonly identity: string; readonly serial: string }
  | {
      readonly kind: 'bundle';
      /** `spiffe://<trust domain>`. */
      readonly trustDomainId: string;
      readonly serials: ReadonlySet<string>;
      /** Of other trust domains' roots, which may be trusted beside them. */
      readonly foreign: ReadonlySet<string>;
    };

/** `serial` in hex, in the one form in which two of them can be compared. */
export function serialText(serial: string): string {
  return serial.toLowerCase().replace(/^0+/, '');
}

/**
 * Whether each context that this is for uses it, and there is one. A context is meant by a leaf if it presents that
 * identity, and by a bundle if it trusts a root of that trust domain or of that bundle: then these must be all. Of an
 * Envoy that shows one root only a bundle of two is never in use. CRLs are shown by none.
 */
export function isInUse(expected: Expected, contexts: readonly TlsContext[]): boolean {
  const meant = contexts.filter((context) => isMeant(expected, context));
  return meant.length > 0 && meant.every((context) => uses(expected, context));
}

function isMeant(expected: Expected, { roots, chain }: TlsContext): boolean {
  if (expected.kind === 'leaf') return chain.some(({ uris }) => uris.includes(expected.identity));
  const { serials, trustDomainId } = expected;
  return roots.some(({ serial, uris }) => serials.has(serial) || uris.includes(trustDomainId));
}

function uses(expected: Expected, { roots, chain }: TlsContext): boolean {
  if (expected.kind === 'leaf') return chain.some(({ serial }) => serial === expected.serial);
  const trusted = new Set(
    roots.map(({ serial }) => serial).filter((serial) => !expected.foreign.has(serial)),
  );
  return (
    trusted.size === expected.serials.size && [...trusted].every((serial) => expected.serials.has(serial))
  );
}
