import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { parseCheckpoint } from '../../../src/audit/log/checkpoint.ts';
import { formatWitnessKey, type WitnessKey } from '../../../src/audit/log/cosignature.ts';
import { keyIdOf } from '../../../src/audit/log/note.ts';

/** A witness' key, and what it signs by C2SP tlog-cosignature, written down a second time. */
export interface Cosigner {
  readonly key: WitnessKey;
  readonly vkey: string;
  /** A signature line, with its newline. */
  cosign(text: string, time?: number): string;
}

const PUBLIC_KEY_BYTES = { 4: 32, 6: 1312 } as const;

export function newCosigner(name: string, type: 4 | 6 = 4): Cosigner {
  const { publicKey, privateKey } =
    type === 4 ? generateKeyPairSync('ed25519') : generateKeyPairSync('ml-dsa-44');
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const key = { name, type, publicKey: spki.subarray(-PUBLIC_KEY_BYTES[type]) };
  const message = type === 4 ? ed25519Message : mlDsaMessage;
  return {
    key,
    vkey: formatWitnessKey(key),
    cosign: (text, time = Math.floor(Date.now() / 1000)) =>
      line(key, time, signed(message(name, time, text), privateKey)),
  };
}

function signed(message: string | Buffer, key: KeyObject): Buffer {
  return sign(null, Buffer.from(message), key);
}

function line(key: WitnessKey, time: number, signature: Buffer): string {
  const timestamp = Buffer.alloc(8);
  timestamp.writeBigUInt64BE(BigInt(time));
  const bytes = Buffer.concat([keyIdOf(key), timestamp, signature]);
  return `\u2014 ${key.name} ${bytes.toString('base64')}\n`;
}

function ed25519Message(_name: string, time: number, text: string): string {
  return `cosignature/v1\ntime ${time}\n${text}`;
}

function mlDsaMessage(name: string, time: number, text: string): Buffer {
  const { origin, size, root } = parseCheckpoint(text);
  const fixed = Buffer.alloc(24);
  fixed.writeBigUInt64BE(BigInt(size), 16);
  const timestamp = Buffer.alloc(8);
  timestamp.writeBigUInt64BE(BigInt(time));
  return Buffer.concat([
    Buffer.from('subtree/v1\n\0', 'latin1'),
    Buffer.from([name.length]),
    Buffer.from(name),
    timestamp,
    Buffer.from([origin.length]),
    Buffer.from(origin),
    fixed.subarray(8),
    root,
  ]);
}
