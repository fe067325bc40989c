import { createPrivateKey } from 'node:crypto';
import type { KeptSvid } from '../../delivery/certificate.ts';
import type { ConsumerRecord } from '../../delivery/member.ts';
import { CarnetError } from '../../errors.ts';
import { SessionResponse } from '../../gen/carnet/agent/v1/agent.ts';
import { parseSelector } from '../../identity/selector.ts';
import { parseSpiffeId, type TrustDomain } from '../../identity/spiffe-id.ts';
import type { AgentIdentity } from '../link/agent-identity.ts';
import type { KeptLink } from '../link/agent-link.ts';
import { take } from '../link/held.ts';

/** A leaf with its key, and whose it is. */
export type InstanceSvid = KeptSvid & { readonly instance: string };

/** All that an agent needs to go on where it was: with the servers away, and without a second attestation. */
export interface CachedState {
  readonly link: KeptLink;
  readonly svids: readonly InstanceSvid[];
  /** What its consumers held, for the servers. */
  readonly fleet: readonly ConsumerRecord[];
}

/** Of what stands in a cache. One of another version is no cache of ours. */
const VERSION = 1;

/** As it is sealed: UTF-8 JSON, bytes in base64, times in milliseconds since the epoch. Secret. */
export function encodeState({ link, svids, fleet }: CachedState): Buffer {
  const { identity, held } = link;
  return Buffer.from(
    JSON.stringify({
      version: VERSION,
      trustDomain: held.bundle.trustDomain,
      identity: {
        ...identity,
        privateKey: base64(identity.privateKey.export({ format: 'der', type: 'pkcs8' })),
        chain: identity.chain.map(base64),
      },
      held: base64(SessionResponse.encode(held.message).finish()),
      svids: svids.map(({ svid, ...rest }) => ({
        ...rest,
        svid: {
          ...svid,
          chain: svid.chain.map(base64),
          privateKey: base64(svid.privateKey),
          notBefore: svid.notBefore.getTime(),
          notAfter: svid.notAfter.getTime(),
        },
      })),
      fleet,
    }),
  );
}

/** What {@link encodeState} made. Throws `conflict` for another version's, or another trust domain's. */
export function decodeState(contents: Buffer, trustDomain: TrustDomain): CachedState {
  const state = JSON.parse(contents.toString('utf8')) as EncodedState;
  if (state.version !== VERSION)
    throw new CarnetError('conflict', `the cache is of version ${state.version}, and this is ${VERSION}`);
  if (state.trustDomain !== trustDomain)
    throw new CarnetError('conflict', `the cache is of the trust domain ${state.trustDomain}`);
  return {
    link: {
      identity: identityOf(state.identity),
      held: take(null, SessionResponse.decode(bytes(state.held)), trustDomain),
    },
    svids: state.svids.map(svidOf),
    fleet: state.fleet,
  };
}

interface EncodedState {
  readonly version: number;
  readonly trustDomain: string;
  readonly identity: Encoded<AgentIdentity>;
  readonly held: string;
  readonly svids: readonly (Omit<InstanceSvid, 'svid'> & { readonly svid: Encoded<InstanceSvid['svid']> })[];
  readonly fleet: readonly ConsumerRecord[];
}

type Encoded<T> = Omit<T, 'privateKey' | 'chain' | 'notBefore' | 'notAfter'> & {
  readonly privateKey: string;
  readonly chain: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
};

function identityOf(encoded: EncodedState['identity']): AgentIdentity {
  return {
    ...encoded,
    selectors: encoded.selectors.map(parseSelector),
    privateKey: createPrivateKey({
      key: Buffer.from(encoded.privateKey, 'base64'),
      format: 'der',
      type: 'pkcs8',
    }),
    chain: encoded.chain.map(bytes),
  };
}

function svidOf({ svid, ...rest }: EncodedState['svids'][number]): InstanceSvid {
  return {
    ...rest,
    svid: {
      ...svid,
      identity: parseSpiffeId(svid.identity),
      privateKey: bytes(svid.privateKey),
      chain: svid.chain.map(bytes),
      notBefore: new Date(svid.notBefore),
      notAfter: new Date(svid.notAfter),
    },
  };
}

function base64(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
