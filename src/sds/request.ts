import { CarnetError } from '../errors.ts';
import type { Node } from '../gen/envoy/config/core/v3/base.ts';
import type { DeltaDiscoveryRequest, DiscoveryRequest } from '../gen/envoy/service/discovery/v3/discovery.ts';
import type { Status } from '../gen/google/rpc/status.ts';
import type { DeltaEvent } from './delta-reducer.ts';
import { SECRET_TYPE } from './encode.ts';
import type { StreamEvent } from './stream-reducer.ts';

/** What a proxy says of itself: untrusted text, cut to {@link MAX_NODE_LENGTH} printable characters each. */
export interface ProxyNode {
  readonly id: string;
  readonly cluster: string;
  readonly userAgent: string;
  /** Where its admin interface is, as it says and as it is written: of any form, at most 256 characters. */
  readonly adminAddress: string | null;
}

/** In the node's metadata, as `carnet envoy bootstrap` prints it. */
const ADMIN_ADDRESS = 'carnet_admin_address';

const MAX_NODE_LENGTH = 256;
/** Envoy's words for a refusal, kept for people: the reason stands at their beginning. */
const MAX_ERROR_LENGTH = 1024;

/** Throws `invalid_argument` for another type than secrets. An empty type is implied by the method. */
export function parseStreamRequest(request: DiscoveryRequest): {
  event: StreamEvent & { kind: 'request' };
  node: ProxyNode | null;
} {
  checkType(request.typeUrl);
  return {
    event: {
      kind: 'request',
      names: request.resourceNames,
      version: request.versionInfo,
      nonce: request.responseNonce,
      error: errorOf(request.errorDetail),
    },
    node: nodeOf(request.node),
  };
}

/** Throws `invalid_argument` for another type than secrets. An empty type is implied by the method. */
export function parseDeltaRequest(request: DeltaDiscoveryRequest): {
  event: DeltaEvent & { kind: 'request' };
  node: ProxyNode | null;
} {
  checkType(request.typeUrl);
  return {
    event: {
      kind: 'request',
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      initial: request.initialResourceVersions,
      nonce: request.responseNonce,
      error: errorOf(request.errorDetail),
    },
    node: nodeOf(request.node),
  };
}

/** On one line, without control and invisible characters, at most `length` characters. */
export function printable(text: string, length: number): string {
  return text
    .slice(0, 4 * length)
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .trim()
    .slice(0, length)
    .toWellFormed();
}

function checkType(typeUrl: string): void {
  if (typeUrl !== '' && typeUrl !== SECRET_TYPE)
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(typeUrl.slice(0, 100))} is not served here: ask for ${SECRET_TYPE}`,
    );
}

function errorOf(detail: Status | undefined): string | null {
  return detail === undefined
    ? null
    : printable(detail.message, MAX_ERROR_LENGTH) || `no message (code ${detail.code})`;
}

function nodeOf(node: Node | undefined): ProxyNode | null {
  if (node === undefined) return null;
  const agent = [node.userAgentName, versionOf(node)].filter((part) => part !== '').join('/');
  return {
    id: printable(node.id, MAX_NODE_LENGTH),
    cluster: printable(node.cluster, MAX_NODE_LENGTH),
    userAgent: printable(agent, MAX_NODE_LENGTH),
    adminAddress: adminAddressOf(node),
  };
}

function adminAddressOf({ metadata }: Node): string | null {
  const address: unknown = metadata?.[ADMIN_ADDRESS];
  return typeof address === 'string' && address.length <= MAX_NODE_LENGTH ? address : null;
}

function versionOf({ userAgentVersionType: type }: Node): string {
  if (type === undefined) return '';
  if (type.$case === 'userAgentVersion') return type.value;
  const { majorNumber = 0, minorNumber = 0, patch = 0 } = type.value.version ?? {};
  return `${majorNumber}.${minorNumber}.${patch}`;
}
