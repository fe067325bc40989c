import { generateKeyPairSync, sign } from 'node:crypto';
import { encodeCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { leafHash } from '../../src/audit/log/merkle.ts';
import { encodeNote, noteSignature } from '../../src/audit/log/note.ts';
import { verifierOf } from '../../src/audit/log-key.ts';
import type { EvidencePlaces, LogReader, SignedTree, StoredLogKey } from '../../src/audit/log-store.ts';
import type { WitnessState } from '../../src/audit/witness.ts';
import { storedBy } from '../audit/log/definition.ts';

const pair = generateKeyPairSync('ed25519');

/** A log of these entries, in memory; the issuances of `serials` are its first ones. */
export class MemoryLog implements LogReader {
  entriesInLog: Uint8Array[] = [];
  serials: string[] = [];
  waiting: Date | null = null;
  quorum = 0;
  /** How many entries the latest cosigned checkpoint has, and its cosignatures. */
  cosigned: { readonly size: number; readonly lines: string } | null = null;
  states: WitnessState[] = [];

  readonly readNodes: LogReader['readNodes'] = (ranges) =>
    storedBy(this.entriesInLog.map(leafHash)).read(ranges);

  async key(): Promise<StoredLogKey> {
    const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' });
    const kept = { sealedKey: new Uint8Array(1), keyReference: null };
    return { id: 'log-01020304', origin: 'carnet.local/log', keyAlgorithm: 'ed25519', publicKey, ...kept };
  }

  head(): Promise<SignedTree | null> {
    return this.#checkpoint(this.entriesInLog.length);
  }

  async published(): Promise<SignedTree | null> {
    return (this.quorum > 0 ? await this.witnessed() : null) ?? this.head();
  }

  async witnessed(): Promise<SignedTree | null> {
    const tree = this.cosigned && (await this.#checkpoint(this.cosigned.size));
    return tree && { ...tree, note: tree.note + this.cosigned?.lines };
  }

  async witnesses(): Promise<WitnessState[]> {
    return this.states;
  }

  async #checkpoint(count: number): Promise<SignedTree | null> {
    if (count === 0) return null;
    const { size, root } = storedBy(this.entriesInLog.slice(0, count).map(leafHash)).tree;
    const key = verifierOf(await this.key());
    const text = encodeCheckpoint({ origin: key.name, size, root });
    const signature = sign(null, Buffer.from(text), pair.privateKey);
    return { size, root, note: encodeNote({ text, signatures: [noteSignature(key, signature)] }) };
  }

  async entries(start: number, end: number): Promise<Uint8Array[]> {
    return this.entriesInLog.slice(start, end);
  }

  async findIssuance(serial: string): Promise<number | null> {
    const index = this.serials.indexOf(serial);
    return index === -1 ? null : index;
  }

  async findEvidence(serial: string): Promise<EvidencePlaces | null> {
    const issuance = await this.findIssuance(serial);
    return issuance === null ? null : { issuance, rule: null, revocation: null };
  }

  async waitingSince(): Promise<Date | null> {
    return this.waiting;
  }
}
