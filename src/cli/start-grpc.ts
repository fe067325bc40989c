import { PostgresFleetStore } from '../db/consumers.ts';
import { type Address, formatAddress } from '../setting-values.ts';
import { confirmByCluster } from './confirm-by-cluster.ts';
import type { Grants } from './grants.ts';
import { startIstio } from './start-istio.ts';
import { type Link, type LinkOptions, startLink } from './start-link.ts';
import { type RemoteSds, startSds } from './start-sds.ts';

export interface GrpcOptions extends Omit<LinkOptions, 'confirm' | 'index' | 'denials'> {
  readonly grants: Grants;
  readonly node: string;
}

/** All that is served on `--grpc-addr`. */
export interface GrpcPart extends AsyncDisposable {
  readonly link: Link;
  /** Null without `--sds-on-grpc`. */
  readonly sds: RemoteSds | null;
}

/** Serves other nodes' agents, Istio's clients and proxies without an agent. Throws as each of them does. */
export async function startGrpc(
  { grants, node, ...options }: GrpcOptions,
  address: Address,
): Promise<GrpcPart> {
  const { config, database, authorities } = options;
  await using stack = new AsyncDisposableStack();
  const confirmation = confirmByCluster(config, options);
  if (confirmation !== null) stack.use(confirmation);
  const link = await startLink(
    {
      ...options,
      confirm: confirmation?.confirm ?? null,
      index: () => grants.index,
      denials: () => grants.denials,
    },
    address,
  );
  stack.defer(() => link.close());
  const shared = {
    ...options,
    listener: link.listener,
    grantsOf: grants.of.bind(grants),
    bundle: () => authorities.bundle(),
  };
  const istio = startIstio(shared);
  if (istio !== null) stack.use(istio);
  const sds = await startSds({
    ...shared,
    node,
    isSuperseded: (authority) => authorities.isSuperseded(authority),
    fleet: new PostgresFleetStore(database, node, `grpc ${formatAddress(address)}`),
  });
  if (sds !== null) stack.defer(() => sds.close());
  const owned = stack.move();
  return { link, sds, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
