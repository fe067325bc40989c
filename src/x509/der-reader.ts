import { CarnetError } from '../errors.ts';
import { TAG } from './der-tag.ts';

/** More than any object that we read; keeps every offset far from 2^31. */
const MAX_LENGTH_OCTETS = 3;
/** RFC 5280 appendix B asks for arcs below 2^28; ours may be as large as a number holds exactly. */
const MAX_ARC_BEFORE_SHIFT = (Number.MAX_SAFE_INTEGER - 127) / 128;

/**
 * Reads DER (X.690 §8, §10), one element after the other, and nothing that is merely BER: definite lengths in
 * their shortest form, one-octet tags, canonical values. It never looks past its end and never recurses, so
 * hostile input costs at most its own length. All that it returns are views of the input, not copies.
 * Every method throws `der_malformed`.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  /** Where the next element begins. */
  #at: number;
  /** Where the contents of the element last read begin; they end at `#at`. */
  #contents = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at === this.#end;
  }

  /** Whether another element follows and carries this tag. */
  nextIs(tag: number): boolean {
    return this.#at < this.#end && this.#bytes[this.#at] === tag;
  }

  /** Ends the reading: nothing may be left. */
  end(): void {
    if (!this.done) throw this.#malformed(this.#at, 'an element that does not belong there');
  }

  /** A reader of the next element's contents. */
  enter(tag: number): DerReader {
    this.#read(tag);
    return new DerReader(this.#bytes, this.#contents, this.#at);
  }

  /** The next element's contents. */
  contents(tag: number): Uint8Array {
    this.#read(tag);
    return this.#bytes.subarray(this.#contents, this.#at);
  }

  /** The next element, whole: tag, length and contents. */
  element(tag: number): Uint8Array {
    const start = this.#at;
    this.#read(tag);
    return this.#bytes.subarray(start, this.#at);
  }

  /** Passes over one element of any tag. */
  skip(): void {
    this.#read(this.#bytes[this.#at] ?? 0);
  }

  /** X.690 §11.1: FALSE is 00, TRUE is FF. */
  boolean(): boolean {
    const value = this.contents(TAG.boolean);
    if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff))
      throw this.#malformed(this.#contents, 'a BOOLEAN other than 00 or FF');
    return value[0] === 0xff;
  }

  /** The contents octets of an INTEGER: big-endian two's complement in its shortest form (X.690 §8.3.2). */
  integer(): Uint8Array {
    const value = this.contents(TAG.integer);
    const [first = 0, second = 0] = value;
    if (value.length === 0) throw this.#malformed(this.#contents, 'an INTEGER without contents');
    if (value.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      throw this.#malformed(this.#contents, 'an INTEGER longer than its shortest form');
    return value;
  }

  /** A non-negative INTEGER's magnitude, big-endian without leading zero octets: empty for 0. */
  unsigned(): Uint8Array {
    const value = this.integer();
    if ((value[0] ?? 0) >= 0x80) throw this.#malformed(this.#contents, 'a negative INTEGER');
    return value[0] === 0 ? value.subarray(1) : value;
  }

  /** A non-negative INTEGER below 2^31. */
  smallInteger(): number {
    const value = this.unsigned();
    if (value.length > 4 || (value.length === 4 && (value[0] ?? 0) >= 0x80))
      throw this.#malformed(this.#contents, 'an INTEGER that is out of range');
    let number = 0;
    for (const octet of value) number = number * 256 + octet;
    return number;
  }

  /** The octets of a BIT STRING that has no unused bits. */
  bitStringOctets(): Uint8Array {
    const value = this.contents(TAG.bitString);
    if (value[0] !== 0) throw this.#malformed(this.#contents, 'a BIT STRING that is not whole octets');
    return value.subarray(1);
  }

  /**
   * A BIT STRING that is a list of named bits, at most 16: bit 0 of the ASN.1 is bit 0 of the number.
   * Trailing zero bits must have been left out (X.690 §11.2.2).
   */
  namedBits(): number {
    const value = this.contents(TAG.bitString);
    const unused = value[0] ?? 8;
    const last = value[value.length - 1] ?? 0;
    const canonical =
      value.length === 1 ? unused === 0 : unused < 8 && last % 2 ** (unused + 1) === 2 ** unused;
    if (value.length === 0 || value.length > 3 || !canonical)
      throw this.#malformed(this.#contents, 'a list of named bits that is not in its shortest form');
    let bits = 0;
    for (let i = 0; i < (value.length - 1) * 8; i++)
      if (((value[1 + (i >> 3)] ?? 0) >> (7 - (i & 7))) & 1) bits |= 1 << i;
    return bits;
  }

  /** An OBJECT IDENTIFIER as dotted decimal. */
  objectIdentifier(): string {
    const value = this.contents(TAG.objectIdentifier);
    if (value.length === 0 || (value[value.length - 1] ?? 0) >= 0x80)
      throw this.#malformed(this.#contents, 'an OBJECT IDENTIFIER that ends within an arc');
    let text = '';
    let arc = 0;
    for (const octet of value) {
      if ((arc === 0 && octet === 0x80) || arc > MAX_ARC_BEFORE_SHIFT)
        throw this.#malformed(this.#contents, 'an OBJECT IDENTIFIER with an arc that is padded or too large');
      arc = arc * 128 + (octet & 0x7f);
      if (octet >= 0x80) continue;
      text += text === '' ? firstArcs(arc) : `.${arc}`;
      arc = 0;
    }
    return text;
  }

  null(): void {
    if (this.contents(TAG.null).length !== 0) throw this.#malformed(this.#contents, 'a NULL with contents');
  }

  #read(tag: number): void {
    const start = this.#at;
    if (start >= this.#end) throw this.#malformed(start, `an end instead of tag ${hexOctet(tag)}`);
    const found = this.#bytes[start] ?? 0;
    if ((found & 0x1f) === 0x1f) throw this.#malformed(start, 'a tag of more than one octet');
    if (found !== tag) throw this.#malformed(start, `tag ${hexOctet(found)} instead of ${hexOctet(tag)}`);
    const length = this.#readLength(start + 1);
    if (length > this.#end - this.#contents)
      throw this.#malformed(start, 'an element that is longer than what holds it');
    this.#at = this.#contents + length;
  }

  /** Reads the length octets at `at`, in their shortest form (X.690 §10.1), and moves `#contents` past them. */
  #readLength(at: number): number {
    if (at >= this.#end) throw this.#malformed(at, 'an end instead of a length');
    const first = this.#bytes[at] ?? 0;
    this.#contents = at + 1;
    if (first < 0x80) return first;
    const octets = first & 0x7f;
    if (octets === 0 || octets > MAX_LENGTH_OCTETS)
      throw this.#malformed(at, 'a length that is indefinite or too large');
    this.#contents += octets;
    if (this.#contents > this.#end) throw this.#malformed(at, 'an end within a length');
    let length = 0;
    for (let i = 1; i <= octets; i++) length = length * 256 + (this.#bytes[at + i] ?? 0);
    if (length < 0x80 || length < 256 ** (octets - 1))
      throw this.#malformed(at, 'a length longer than its shortest form');
    return length;
  }

  #malformed(at: number, what: string): CarnetError {
    return new CarnetError('der_malformed', `the DER has ${what} (byte ${at})`);
  }
}

/** X.690 §8.19.4: the first subidentifier holds the first two arcs. */
function firstArcs(subidentifier: number): string {
  const first = Math.min(Math.floor(subidentifier / 40), 2);
  return `${first}.${subidentifier - first * 40}`;
}

function hexOctet(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}
