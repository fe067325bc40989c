import { CarnetError } from '../errors.ts';
import { ApiError, type KubernetesClient } from './client.ts';

/** A request's status, as far as it is of ours. */
export interface RequestStatus extends Readonly<Record<string, unknown>> {
  readonly conditions?: readonly { readonly type: string }[];
  readonly certificate?: string;
}

interface Stored {
  readonly metadata: { readonly uid: string };
  readonly status?: RequestStatus;
}

export interface Answer {
  /** Of the request; its `subresource` is written. */
  readonly path: string;
  readonly subresource: 'status' | 'approval';
  readonly uid: string;
  /** Null for a request that is answered. */
  readonly view: (object: unknown) => unknown;
  /** What the status is to become. */
  readonly change: (status: RequestStatus) => RequestStatus;
}

/** Ours: others write labels, conditions and bookkeeping into a request now and then, and not without end. */
const TRIES = 5;

/**
 * Writes into a request as it is now, again where somebody has changed it meanwhile. Throws `conflict` where it is
 * answered by another, or is another one by its name: what was checked is not that one; else as the client does.
 */
export async function writeAnswer(
  client: Pick<KubernetesClient, 'get' | 'replace'>,
  { path, subresource, uid, view, change }: Answer,
): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    const current = (await client.get(path)) as Stored;
    if (current.metadata.uid !== uid) throw new ApiError(409, `the request ${path} was made anew`);
    if (view(current) === null) throw new ApiError(409, `the request ${path} is answered by another`);
    try {
      const status = change(current.status ?? {});
      await client.replace(`${path}/${subresource}`, { ...current, status });
      return;
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
    }
  }
  throw new CarnetError('unavailable', `Kubernetes: others change ${path} whenever it is to be answered`);
}
