import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CarnetError } from '../errors.ts';
import { type Handle, isResult, loadPkcs11, type Pkcs11Call, Pkcs11Error } from './pkcs11-module.ts';
import type { Pkcs11Session } from './pkcs11-session.ts';

export interface TokenOptions {
  /** The vendor's library. */
  readonly modulePath: string;
  /** The token's label, or the slot that it is in. */
  readonly token: { readonly label: string } | { readonly slot: number };
  /** The user's PIN, in a file that only its owner can read. */
  readonly pinFile: string;
  /** Told when the token is lost, with the reason, and when it is back, with null. */
  readonly onChange: (problem: string | null) => void;
}

const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 10_000;
/** From being queued on; a module that hangs cannot be interrupted, only not waited for. */
const CALL_TIMEOUT_MS = 10_000;
const MAX_QUEUED = 1_000;
const MAX_PIN_BYTES = 1_024;
const MAX_SLOTS = 64;
const TOKEN_INFO_BYTES = 512;
const LABEL_BYTES = 32;
const SHARED_MODE = 0o077;
const CKF_OS_LOCKING_OK = 2;
/** CKF_RW_SESSION | CKF_SERIAL_SESSION. */
const READ_WRITE = 6;
const CKU_USER = 1;

/** The session or the token is gone: what a new connection may cure. */
const LOST: ReadonlySet<string> = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_MEMORY',
  'CKR_DEVICE_REMOVED',
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
]);
/** An object is gone: all of them are where the token was away, though it may be the only one. */
const OBJECT_GONE: ReadonlySet<string> = new Set(['CKR_KEY_HANDLE_INVALID', 'CKR_OBJECT_HANDLE_INVALID']);
/** The token counts these, and locks itself after a few: the same PIN is not said again. */
const PIN_REFUSED: ReadonlySet<string> = new Set([
  'CKR_PIN_INCORRECT',
  'CKR_PIN_INVALID',
  'CKR_PIN_LEN_RANGE',
  'CKR_PIN_EXPIRED',
  'CKR_PIN_LOCKED',
]);
const INITIALIZED: ReadonlySet<string> = new Set(['CKR_CRYPTOKI_ALREADY_INITIALIZED']);
const NOT_INITIALIZED: ReadonlySet<string> = new Set(['CKR_CRYPTOKI_NOT_INITIALIZED']);
const LOGGED_IN: ReadonlySet<string> = new Set(['CKR_USER_ALREADY_LOGGED_IN']);

/**
 * A token that is connected to when it is first needed, and again whenever it was lost: at once, then with
 * back-off, by itself. One session, so one call at a time, in the order of asking.
 */
export class Pkcs11Token {
  readonly #options: TokenOptions;
  readonly #call: Pkcs11Call;
  #session: Pkcs11Session | null = null;
  #problem: string | null = null;
  /** The version of the PIN file that the token refused, and its word. */
  #refused: { readonly version: string; readonly why: string } | null = null;
  #retry: NodeJS.Timeout | null = null;
  #retryMs = RETRY_MIN_MS;
  #last: Promise<unknown> = Promise.resolve();
  #queued = 0;
  #closed = false;

  /** Throws `config_invalid` for what is no PKCS#11 module. */
  constructor(options: TokenOptions) {
    this.#options = options;
    this.#call = loadPkcs11(options.modulePath);
  }

  /** Why the token cannot be used now; null while it can, or wasn't needed yet. */
  get problem(): string | null {
    return this.#problem;
  }

  /**
   * Runs `work` with the session, again with a new one where it was lost. Throws `authority_unavailable` while the
   * token is away, refuses the PIN or does not answer, `overloaded`, and what `work` throws.
   */
  async use<T>(work: (session: Pkcs11Session) => Promise<T>): Promise<T> {
    if (this.#queued >= MAX_QUEUED)
      throw new CarnetError('overloaded', `${MAX_QUEUED} signatures wait for the token: try again later`);
    this.#queued++;
    const done = this.#last.then(() => this.#attempt(work)).finally(() => this.#queued--);
    this.#last = done.catch(() => undefined);
    return this.#answerOf(done);
  }

  /** Waits for the call under way and lets go of the module. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#session = null;
    await this.#answerOf(this.#last.then(() => this.#finalize())).catch(() => undefined);
  }

  async #answerOf<T>(call: Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const why = `it does not answer within ${CALL_TIMEOUT_MS / 1000} s`;
      this.#report(why);
      reject(unavailable(why));
    }, CALL_TIMEOUT_MS);
    try {
      return await Promise.race([call, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt<T>(work: (session: Pkcs11Session) => Promise<T>): Promise<T> {
    for (let isFirst = true; ; isFirst = false) {
      const session = this.#session ?? (await this.#connect());
      try {
        const result = await work(session);
        this.#report(null);
        return result;
      } catch (error) {
        if (!(error instanceof Pkcs11Error)) throw error;
        const isGone = isResult(error, OBJECT_GONE);
        if (isGone ? !isFirst : !isResult(error, LOST)) throw unavailable(error.message, error);
        this.#session = null;
        if (!isFirst) throw this.#lost(error);
      }
    }
  }

  async #connect(): Promise<Pkcs11Session> {
    if (this.#closed) throw new CarnetError('shutting_down', 'the token is let go of');
    if (this.#retry !== null) throw unavailable(this.#problem ?? '');
    try {
      this.#session = await this.#open();
      this.#retryMs = RETRY_MIN_MS;
      return this.#session;
    } catch (error) {
      throw this.#lost(error);
    }
  }

  /** Notes why, and tries again by itself. */
  #lost(error: unknown): CarnetError {
    const problem = error instanceof Error ? error.message : String(error);
    this.#report(problem);
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.use(async () => undefined).catch(() => undefined);
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
    return unavailable(problem, error);
  }

  #report(problem: string | null): void {
    if (problem !== this.#problem) this.#options.onChange(problem);
    this.#problem = problem;
  }

  async #open(): Promise<Pkcs11Session> {
    const { pin, version } = await readPin(this.#options.pinFile);
    try {
      if (version === this.#refused?.version)
        throw new Error(`${this.#refused.why}: put the right PIN into ${this.#options.pinFile}`);
      // Modules look for tokens when they are initialised, and hold on to what they found.
      await this.#finalize();
      const locking = { createMutex: null, destroyMutex: null, lockMutex: null, unlockMutex: null };
      const initialize = this.#call('C_Initialize', { ...locking, flags: CKF_OS_LOCKING_OK, reserved: null });
      await unless(INITIALIZED, initialize);
      const { slot, label } = await this.#findToken();
      const handle: [Handle] = [0];
      await this.#call('C_OpenSession', slot, READ_WRITE, null, null, handle);
      await this.#login(handle[0], pin, version);
      return { call: this.#call, handle: handle[0], tokenLabel: label, found: new Map() };
    } finally {
      pin.fill(0);
    }
  }

  async #login(session: Handle, pin: Buffer, version: string): Promise<void> {
    try {
      await unless(LOGGED_IN, this.#call('C_Login', session, CKU_USER, pin, pin.length));
    } catch (error) {
      if (!isResult(error, PIN_REFUSED)) throw error;
      this.#refused = { version, why: `the token refused the PIN (${(error as Pkcs11Error).result})` };
      throw new Error(`${this.#refused.why}: put the right PIN into ${this.#options.pinFile}`);
    }
  }

  async #findToken(): Promise<{ slot: Handle; label: string }> {
    const slots: Handle[] = Array.from({ length: MAX_SLOTS }, () => 0);
    const count: [number] = [MAX_SLOTS];
    await this.#call('C_GetSlotList', 1, slots, count);
    const present: { slot: Handle; label: string }[] = [];
    for (const slot of slots.slice(0, count[0])) {
      const info = Buffer.alloc(TOKEN_INFO_BYTES);
      await this.#call('C_GetTokenInfo', slot, info);
      present.push({ slot, label: info.toString('utf8', 0, LABEL_BYTES).trimEnd() });
    }
    const { token } = this.#options;
    const found = present.find(({ slot, label }) =>
      'label' in token ? label === token.label : BigInt(slot) === BigInt(token.slot),
    );
    if (found !== undefined) return found;
    const wanted = 'label' in token ? `labelled ${JSON.stringify(token.label)}` : `in slot ${token.slot}`;
    const others = present.map(({ slot, label }) => `${JSON.stringify(label)} in slot ${slot}`).join(', ');
    throw new Error(`there is no token ${wanted}; the module has ${others || 'none'}`);
  }

  async #finalize(): Promise<void> {
    await unless(NOT_INITIALIZED, this.#call('C_Finalize', null));
  }
}

async function unless(results: ReadonlySet<string>, called: Promise<void>): Promise<void> {
  try {
    await called;
  } catch (error) {
    if (!isResult(error, results)) throw error;
  }
}

/** The PIN, to be overwritten after use, and what tells this file from a changed one. */
async function readPin(path: string): Promise<{ pin: Buffer; version: string }> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    throw new Error(`--pkcs11-pin-file ${path} cannot be opened: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const { mode, size, mtimeNs, ino } = await file.stat({ bigint: true });
    if ((mode & BigInt(SHARED_MODE)) !== 0n)
      throw new Error(`--pkcs11-pin-file ${path} can be read by others; run chmod 600 ${path}`);
    if (size > MAX_PIN_BYTES) throw new Error(`--pkcs11-pin-file ${path} is too large for a PIN`);
    const text = await file.readFile();
    const end = text.indexOf('\n');
    return { pin: end === -1 ? text : text.subarray(0, end), version: `${ino} ${mtimeNs}` };
  } finally {
    await file.close();
  }
}

function unavailable(why: string, cause?: unknown): CarnetError {
  return new CarnetError(
    'authority_unavailable',
    `the token with the authorities' keys cannot be used: ${why}`,
    {
      cause,
    },
  );
}
