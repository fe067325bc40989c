import { CarnetError } from '../errors.ts';
import { DerReader } from './der-reader.ts';
import { TAG } from './der-tag.ts';
import { OID } from './oid.ts';

/** UTF8String and PrintableString, which RFC 5280 §4.1.2.4 asks for, and IA5String, which some CAs write. */
const STRINGS = [TAG.utf8String, TAG.printableString, TAG.ia5String];

/** The common names in a Name (DER), in their order; there may be several. Throws `der_malformed`. */
export function commonNamesOf(name: Uint8Array): string[] {
  const names: string[] = [];
  const sequence = new DerReader(name).enter(TAG.sequence);
  while (!sequence.done) {
    const relativeName = sequence.enter(TAG.set);
    while (!relativeName.done) {
      const attribute = relativeName.enter(TAG.sequence);
      if (attribute.objectIdentifier() === OID.commonName) names.push(textOf(attribute));
      else attribute.skip();
      attribute.end();
    }
  }
  return names;
}

function textOf(attribute: DerReader): string {
  const tag = STRINGS.find((one) => attribute.nextIs(one));
  if (tag === undefined)
    throw new CarnetError('der_malformed', 'a common name that is neither UTF-8 nor ASCII text');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(attribute.contents(tag));
  } catch (cause) {
    throw new CarnetError('der_malformed', 'a common name that is not UTF-8', { cause });
  }
}
