import type { Issuance } from '../../src/audit/issuance.ts';
import type { OperatorEvent } from '../../src/audit/operator-event.ts';
import type {
  AuthorityStore,
  AuthorityTransaction,
  NewAuthority,
  StoredAuthority,
  StoredCrl,
} from '../../src/ca/authority-store.ts';
import type { NewJwtKey, StoredJwtKey } from '../../src/ca/jwt-key.ts';
import type { UpstreamRequest } from '../../src/ca/upstream-request.ts';
import { CarnetError } from '../../src/errors.ts';
import type { Consumer, Outstanding } from '../../src/rotation/fleet.ts';
import type { NewRotation, Rotation, RotationChange } from '../../src/rotation/rotation.ts';

export interface Bundle {
  readonly sequence: number;
  readonly rootIds: readonly string[];
  readonly crlIds: readonly string[];
  readonly jwtIds: readonly string[];
}

interface State {
  authorities: StoredAuthority[];
  jwtKeys: StoredJwtKey[];
  crls: StoredCrl[];
  bundles: Bundle[];
  rotations: (Rotation & { outcome?: 'done' | 'aborted' })[];
  events: OperatorEvent[];
  issuances: Issuance[];
  upstreamRequest: UpstreamRequest | null;
}

/** What only revocation needs. */
type Revoking =
  | 'denials'
  | 'insertDenial'
  | 'liftDenial'
  | 'revokeMatching'
  | 'revokeCertificate'
  | 'revoked'
  | 'issuance';

/** An {@link AuthorityStore} in memory: transactions are all or nothing, and `crash` ends one before its commit. */
export class MemoryAuthorityStore implements AuthorityStore {
  state: State = {
    authorities: [],
    jwtKeys: [],
    crls: [],
    bundles: [],
    rotations: [],
    events: [],
    issuances: [],
    upstreamRequest: null,
  };
  fleet: Consumer[] = [];
  outstanding: Outstanding = { count: 0, until: null };
  tokens: Outstanding = { count: 0, until: null };
  now = 0;
  /** Called before each commit; what it throws undoes the transaction. */
  beforeCommit: () => void = () => undefined;

  async list(): Promise<StoredAuthority[]> {
    return this.state.authorities;
  }

  async jwtKeys(): Promise<StoredJwtKey[]> {
    return this.state.jwtKeys;
  }

  async bundle() {
    const last = this.state.bundles.at(-1);
    if (last === undefined) return undefined;
    const certificateOf = (id: string) =>
      this.state.authorities.find((one) => one.id === id)?.certificate ?? new Uint8Array();
    return {
      sequence: last.sequence,
      x509Sequence: last.sequence,
      x509Authorities: last.rootIds.map(certificateOf),
      crls: [],
      jwtAuthorities: this.state.jwtKeys
        .filter(({ id }) => last.jwtIds.includes(id))
        .map(({ id, publicKey }) => ({ keyId: id, publicKey })),
    };
  }

  async rotations(): Promise<Rotation[]> {
    return this.state.rotations.filter(({ outcome }) => outcome === undefined);
  }

  async transact<T>(work: (tx: AuthorityTransaction) => Promise<T>): Promise<T> {
    const before = structuredClone(this.state);
    try {
      const result = await work(this.#transaction());
      this.beforeCommit();
      return result;
    } catch (error) {
      this.state = before;
      throw error;
    }
  }

  #transaction(): AuthorityTransaction {
    const change = (id: string, fields: Partial<Omit<StoredAuthority, 'kind'>>): void => {
      const key = this.state.jwtKeys.findIndex((one) => one.id === id);
      if (key >= 0) {
        this.state.jwtKeys[key] = { ...this.state.jwtKeys[key], ...fields } as StoredJwtKey;
        return;
      }
      const i = this.state.authorities.findIndex((one) => one.id === id);
      const found = this.state.authorities[i];
      if (found === undefined) throw new CarnetError('not_found', id);
      this.state.authorities[i] = { ...found, ...fields } as StoredAuthority;
    };
    const publishBundle = async (rootIds: readonly string[], crlIds: readonly string[]): Promise<number> => {
      const sequence = this.state.bundles.length + 1;
      const jwtIds = this.state.jwtKeys
        .filter(({ state }) => state !== 'prepared' && state !== 'retired')
        .map(({ id }) => id);
      this.state.bundles.push({ sequence, rootIds, crlIds, jwtIds });
      for (const { id, publishedSequence } of this.state.authorities)
        if (publishedSequence === null && [...rootIds, ...crlIds].includes(id))
          change(id, { publishedSequence: sequence });
      return sequence;
    };
    const transaction: Omit<AuthorityTransaction, Revoking> = {
      list: async () => this.state.authorities,
      insert: async (authority: NewAuthority) => {
        const time = new Date(this.now);
        this.state.authorities.push({
          ...authority,
          publishedSequence: null,
          createdAt: time,
          stateSince: time,
        });
      },
      jwtKeys: async () => this.state.jwtKeys,
      insertJwtKey: async (key: NewJwtKey) => {
        const time = new Date(this.now);
        this.state.jwtKeys.push({ ...key, publishedSequence: null, createdAt: time, stateSince: time });
      },
      setState: async (id, state) => change(id, { state, stateSince: new Date(this.now) }),
      reseal: async (id, sealedKey) => change(id, { sealedKey }),
      destroyKey: async (id) => change(id, { sealedKey: null }),
      logKey: async () => null,
      resealLogKey: async () => undefined,
      upstreamRequest: async () => this.state.upstreamRequest,
      replaceUpstreamRequest: async (request: UpstreamRequest | null) => {
        this.state.upstreamRequest = request;
      },
      crls: async () => this.state.crls,
      insertCrl: async (crl) => void this.state.crls.push(crl),
      publishBundle,
      republishBundle: async () => {
        const { rootIds = [], crlIds = [] } = this.state.bundles.at(-1) ?? {};
        return publishBundle(rootIds, crlIds);
      },
      rotations: () => this.rotations(),
      rotatedSince: async (kind, time) =>
        this.state.rotations.some((one) => one.kind === kind && one.startedAt >= time),
      insertRotation: async (rotation: NewRotation) => {
        const id = this.state.rotations.length + 1;
        const open = {
          ...rotation,
          id,
          newId: null,
          gateOpenSince: null,
          requested: null,
          requestedBy: null,
          force: false,
          startedAt: new Date(this.now),
        };
        this.state.rotations.push(open);
      },
      updateRotation: async (id: number, fields: RotationChange) => {
        this.state.rotations = this.state.rotations.map((one) =>
          one.id === id ? { ...one, ...fields } : one,
        );
      },
      consumers: async () => this.fleet,
      outstanding: async () => this.outstanding,
      outstandingTokens: async () => this.tokens,
      record: async (issuance) => void this.state.issuances.push(issuance),
      event: async (event) => void this.state.events.push(event),
    };
    return transaction as AuthorityTransaction;
  }
}
