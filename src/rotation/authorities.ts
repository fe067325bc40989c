import type { SigningAuthority } from '../ca/authority.ts';
import type { AuthorityStore, StoredAuthority } from '../ca/authority-store.ts';
import { openJwtKey, type SigningJwtKey, type StoredJwtKey } from '../ca/jwt-key.ts';
import type { KeyStore } from '../ca/key-store.ts';
import { openAuthority } from '../ca/open-authority.ts';
import { CarnetError } from '../errors.ts';
import { spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { signingJwtKey } from './jwt-plan.ts';
import { signing } from './plan.ts';
import type { Rotation } from './rotation.ts';

interface State {
  readonly authorities: readonly StoredAuthority[];
  readonly bundle: TrustBundle;
  readonly issuing: SigningAuthority | null;
  readonly jwtKeys: readonly StoredJwtKey[];
  readonly jwtKey: SigningJwtKey | null;
  readonly rotations: readonly Rotation[];
}

/** The authorities as this replica last read them, and the issuing CA with its key. */
export class Authorities {
  readonly #store: AuthorityStore;
  readonly #keys: KeyStore;
  readonly #trustDomain: TrustDomain;
  #state: State | null = null;
  #reading: Promise<void> = Promise.resolve();
  #onBundleChange: () => void = () => undefined;

  constructor(store: AuthorityStore, keys: KeyStore, trustDomain: TrustDomain) {
    this.#store = store;
    this.#keys = keys;
    this.#trustDomain = trustDomain;
  }

  /** Calls `listener` after each read that found another bundle. */
  onBundleChange(listener: () => void): void {
    this.#onBundleChange = listener;
  }

  /**
   * Reads them anew, after whatever read is under way: what is read last is the newest. On a failure what was read
   * before stays. Throws `config_invalid` for another trust domain's database, `key_unseal_failed` for another
   * key-encryption key.
   */
  refresh(): Promise<void> {
    const read = this.#reading.then(() => this.#read());
    this.#reading = read.catch(() => undefined);
    return read;
  }

  async #read(): Promise<void> {
    const authorities = await this.#store.list();
    const jwtKeys = await this.#store.jwtKeys();
    const bundle = await this.#store.bundle();
    const rotations = await this.#store.rotations();
    if (bundle === undefined) return;
    this.#checkTrustDomain(bundle.x509Authorities);
    const before = this.#state;
    const bundleChanged = before?.bundle.sequence !== bundle.sequence;
    this.#state = {
      authorities,
      rotations,
      jwtKeys,
      issuing: this.#open(signing(authorities, 'issuing')),
      jwtKey: this.#openJwt(signingJwtKey(jwtKeys)),
      bundle:
        before === null || bundleChanged ? { trustDomain: this.#trustDomain, ...bundle } : before.bundle,
    };
    if (bundleChanged) this.#onBundleChange();
  }

  /** The issuing CA that signs leaves now. Throws `authority_unavailable`. */
  active(): SigningAuthority {
    const issuing = this.#state?.issuing ?? null;
    if (issuing === null)
      throw new CarnetError('authority_unavailable', 'there is no issuing CA yet: try again in a moment');
    return issuing;
  }

  /** The key that signs JWT-SVIDs now. Throws `authority_unavailable`. */
  activeJwtKey(): SigningJwtKey {
    const key = this.#state?.jwtKey ?? null;
    if (key === null)
      throw new CarnetError(
        'authority_unavailable',
        'there is no key for JWT-SVIDs yet: try again in a moment',
      );
    return key;
  }

  /** Keys that sign, signed or are to sign JWT-SVIDs. */
  jwtKeys(): readonly StoredJwtKey[] {
    return this.#state?.jwtKeys ?? [];
  }

  /** What is to be trusted now. Throws `authority_unavailable` before the first read. */
  bundle(): TrustBundle {
    if (this.#state === null)
      throw new CarnetError(
        'authority_unavailable',
        'the trust bundle is not read yet: try again in a moment',
      );
    return this.#state.bundle;
  }

  list(): readonly StoredAuthority[] {
    return this.#state?.authorities ?? [];
  }

  /** Rotations under way. */
  rotations(): readonly Rotation[] {
    return this.#state?.rotations ?? [];
  }

  /**
   * Whether leaves of this authority are to be replaced by ones of another root now: in waves, or after a
   * compromise as fast as can be. A successor under the same root is no reason.
   */
  isSuperseded(authorityId: string): 'no' | 'wave' | 'urgent' {
    const { authorities = [], issuing, rotations = [] } = this.#state ?? {};
    const signer = authorities.find(({ id }) => id === authorityId);
    if (issuing == null || signer === undefined || signer.parentId === issuing.parentId) return 'no';
    return rotations.some(({ kind, urgent }) => urgent && kind !== 'jwt') ? 'urgent' : 'wave';
  }

  /** Keeps what is open already: a leaf template is made once for each signing authority. */
  #open(stored: StoredAuthority | undefined): SigningAuthority | null {
    if (stored === undefined) return null;
    const open = this.#state?.issuing ?? null;
    return open?.id === stored.id ? open : openAuthority(stored, this.#keys);
  }

  #openJwt(stored: StoredJwtKey | undefined): SigningJwtKey | null {
    if (stored === undefined) return null;
    const open = this.#state?.jwtKey ?? null;
    return open?.id === stored.id ? open : openJwtKey(stored, this.#keys);
  }

  #checkTrustDomain(roots: readonly Uint8Array[]): void {
    const ours = spiffeIdOf(this.#trustDomain, '');
    for (const root of roots) {
      const theirs = parseCertificate(root).subjectAltName?.value.uris[0];
      // An outside root is of no trust domain.
      if (theirs !== undefined && theirs !== ours)
        throw new CarnetError(
          'config_invalid',
          `this database belongs to ${theirs}, not to ${ours}: give its --trust-domain, or another database`,
        );
    }
  }
}
