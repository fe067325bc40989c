import type { DerReader } from './der-reader.ts';
import { contextConstructed, contextPrimitive, TAG } from './der-tag.ts';
import { OID } from './oid.ts';

/** URLs of one purpose, in order, and how much else there is. */
export interface Locations {
  readonly uris: readonly string[];
  /** Other purposes, names of other types, and points that say more than a URL. */
  readonly others: number;
}

const URI = contextPrimitive(6);
const FIRST = contextConstructed(0);

/** The caIssuers of an AuthorityInfoAccessSyntax (RFC 5280 §4.2.2.1). Throws `der_malformed`. */
export function readCaIssuers(value: DerReader): Locations {
  const descriptions = value.enter(TAG.sequence);
  const uris: string[] = [];
  let others = 0;
  while (!descriptions.done) {
    const description = descriptions.enter(TAG.sequence);
    const isCaIssuers = description.objectIdentifier() === OID.caIssuers;
    if (isCaIssuers && description.nextIs(URI)) uris.push(textOf(description.contents(URI)));
    else {
      description.skip();
      others++;
    }
    description.end();
  }
  return { uris, others };
}

/** The full names of CRLDistributionPoints (RFC 5280 §4.2.1.13). Throws `der_malformed`. */
export function readDistributionPoints(value: DerReader): Locations {
  const points = value.enter(TAG.sequence);
  const uris: string[] = [];
  let others = 0;
  while (!points.done) {
    const point = points.enter(TAG.sequence);
    if (point.nextIs(FIRST)) {
      const found = readPointName(point.enter(FIRST));
      uris.push(...found.uris);
      others += found.others;
    }
    // Reasons, or another CRL issuer.
    for (; !point.done; others++) point.skip();
  }
  return { uris, others };
}

function readPointName(name: DerReader): Locations {
  const uris: string[] = [];
  let others = 0;
  if (!name.nextIs(FIRST)) {
    name.skip();
    others++;
  } else {
    const names = name.enter(FIRST);
    while (!names.done)
      if (names.nextIs(URI)) uris.push(textOf(names.contents(URI)));
      else {
        names.skip();
        others++;
      }
  }
  name.end();
  return { uris, others };
}

/** What isn't ASCII becomes something that no URL of ours is. */
function textOf(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('latin1');
}
