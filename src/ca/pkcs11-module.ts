import koffi, { type LibraryHandle } from 'koffi';
import { CarnetError } from '../errors.ts';

/** A session or an object, by the module's number. */
export type Handle = number | bigint;

/** An attribute of an object (PKCS#11 v2.40 §4.4): what it is set to, or the space that its value goes to. */
export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** What a call returned other than CKR_OK, by its name where we know it. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error';
  /** `CKR_…`, or the number in hex. */
  readonly result: string;

  constructor(operation: string, result: number) {
    const name = RESULTS[result] ?? `0x${result.toString(16)}`;
    super(`${operation}: ${name}`);
    this.result = name;
  }
}

/** Results (pkcs11t.h) that we tell apart, or that people often meet. */
const RESULTS: Readonly<Record<number, string>> = {
  5: 'CKR_GENERAL_ERROR',
  6: 'CKR_FUNCTION_FAILED',
  16: 'CKR_ATTRIBUTE_READ_ONLY',
  17: 'CKR_ATTRIBUTE_SENSITIVE',
  19: 'CKR_ATTRIBUTE_VALUE_INVALID',
  48: 'CKR_DEVICE_ERROR',
  49: 'CKR_DEVICE_MEMORY',
  50: 'CKR_DEVICE_REMOVED',
  96: 'CKR_KEY_HANDLE_INVALID',
  112: 'CKR_MECHANISM_INVALID',
  113: 'CKR_MECHANISM_PARAM_INVALID',
  130: 'CKR_OBJECT_HANDLE_INVALID',
  160: 'CKR_PIN_INCORRECT',
  161: 'CKR_PIN_INVALID',
  162: 'CKR_PIN_LEN_RANGE',
  163: 'CKR_PIN_EXPIRED',
  164: 'CKR_PIN_LOCKED',
  176: 'CKR_SESSION_CLOSED',
  179: 'CKR_SESSION_HANDLE_INVALID',
  209: 'CKR_TEMPLATE_INCONSISTENT',
  224: 'CKR_TOKEN_NOT_PRESENT',
  225: 'CKR_TOKEN_NOT_RECOGNIZED',
  256: 'CKR_USER_ALREADY_LOGGED_IN',
  257: 'CKR_USER_NOT_LOGGED_IN',
  400: 'CKR_CRYPTOKI_NOT_INITIALIZED',
  401: 'CKR_CRYPTOKI_ALREADY_INITIALIZED',
};

// The structures of pkcs11t.h, which are not packed outside of Windows.
const ULONG = 'unsigned long';
const attributes = koffi.pointer(koffi.struct({ type: ULONG, value: 'void *', length: ULONG }));
const mechanism = koffi.pointer(koffi.struct({ mechanism: ULONG, parameter: 'void *', length: ULONG }));
const initializeArgs = koffi.pointer(
  koffi.struct({
    createMutex: 'void *',
    destroyMutex: 'void *',
    lockMutex: 'void *',
    unlockMutex: 'void *',
    flags: ULONG,
    reserved: 'void *',
  }),
);
// Unknown: koffi has no name for their type, and a declaration of what is below would need one.
const out: unknown = koffi.out(koffi.pointer(ULONG));
const inOut: unknown = koffi.inout(koffi.pointer(ULONG));
const inOutAttributes: unknown = koffi.inout(attributes);
const bytes = koffi.pointer('uint8_t');

/**
 * The functions that we use, by their place in CK_FUNCTION_LIST (pkcs11f.h): a module need not export them by
 * name. Byte arrays are passed as they are, and filled in place.
 */
const FUNCTIONS = {
  C_Initialize: { at: 0, parameters: [initializeArgs] },
  C_Finalize: { at: 1, parameters: ['void *'] },
  C_GetSlotList: { at: 4, parameters: ['uint8_t', out, inOut] },
  C_GetTokenInfo: { at: 6, parameters: [ULONG, bytes] },
  C_OpenSession: { at: 12, parameters: [ULONG, ULONG, 'void *', 'void *', out] },
  C_Login: { at: 18, parameters: [ULONG, ULONG, bytes, ULONG] },
  C_DestroyObject: { at: 22, parameters: [ULONG, ULONG] },
  C_GetAttributeValue: { at: 24, parameters: [ULONG, ULONG, inOutAttributes, ULONG] },
  C_SetAttributeValue: { at: 25, parameters: [ULONG, ULONG, attributes, ULONG] },
  C_FindObjectsInit: { at: 26, parameters: [ULONG, attributes, ULONG] },
  C_FindObjects: { at: 27, parameters: [ULONG, out, ULONG, out] },
  C_FindObjectsFinal: { at: 28, parameters: [ULONG] },
  C_SignInit: { at: 42, parameters: [ULONG, mechanism, ULONG] },
  C_Sign: { at: 43, parameters: [ULONG, bytes, ULONG, bytes, inOut] },
  C_GenerateKeyPair: {
    at: 59,
    parameters: [ULONG, mechanism, attributes, ULONG, attributes, ULONG, out, out],
  },
} as const;
type FunctionName = keyof typeof FUNCTIONS;

const PROTOTYPES = Object.fromEntries(
  Object.entries(FUNCTIONS).map(([name, { parameters }]) => [
    name,
    koffi.proto(ULONG, parameters as readonly unknown[] as Parameters<typeof koffi.out>),
  ]),
);
/** CK_FUNCTION_LIST begins with a version of two bytes, padded to a pointer's size. */
const FIRST_FUNCTION = koffi.sizeof('void *');
const FUNCTION_COUNT = 60;

/**
 * A call into the module, made on another thread, as a hardware module may take its time. Rejects with
 * {@link Pkcs11Error} for any result but CKR_OK.
 */
export type Pkcs11Call = (name: FunctionName, ...parameters: unknown[]) => Promise<void>;

/** Loaded for good: what koffi no longer sees in use it would unload, under the feet of its functions. */
const LOADED: LibraryHandle[] = [];

/** Loads a vendor's PKCS#11 library. Throws `config_invalid`. */
export function loadPkcs11(path: string): Pkcs11Call {
  let pointers: unknown[];
  try {
    const library = koffi.load(path);
    LOADED.push(library);
    pointers = functionList(library);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CarnetError('config_invalid', `--pkcs11-module ${path} cannot be loaded: ${why}`, { cause });
  }
  const functions = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, { at }]) => [
      name,
      koffi.decode(pointers[at], PROTOTYPES[name] ?? '') as ReturnType<LibraryHandle['func']>,
    ]),
  );
  return async (name, ...parameters) => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    functions[name]?.async(...parameters, (error: unknown, result: number) =>
      error === null ? resolve(Number(result)) : reject(error),
    );
    const result = await promise;
    // The module has had pointers into these until now.
    parameters.length = 0;
    if (result !== 0) throw new Pkcs11Error(name, result);
  };
}

function functionList(library: LibraryHandle): unknown[] {
  const parameters = [koffi.out(koffi.pointer('void *'))];
  const list: unknown[] = [null];
  const result = Number(library.func('C_GetFunctionList', ULONG, parameters)(list));
  if (result !== 0) throw new Pkcs11Error('C_GetFunctionList', result);
  return koffi.decode(list[0], FIRST_FUNCTION, 'void *', FUNCTION_COUNT) as unknown[];
}

/** CK_ULONG. */
export function encodeUlong(value: number): Uint8Array {
  const bytes = new Uint8Array(koffi.sizeof(ULONG));
  koffi.encode(bytes, ULONG, value);
  return bytes;
}

/** Attributes as the module takes them. */
export function template(list: readonly Attribute[]): object[] {
  return list.map(({ type, value }) => ({ type, value, length: value.length }));
}

export function isResult(error: unknown, results: ReadonlySet<string>): boolean {
  return error instanceof Pkcs11Error && results.has(error.result);
}
