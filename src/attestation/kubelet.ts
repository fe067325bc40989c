import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { getJson } from './get-json.ts';
import type { KnownPods, PodSource } from './kubernetes.ts';
import { type Pod, parsePod } from './pod.ts';

export interface KubeletOptions {
  /** `https://<node>:10250`; `http:` is the read-only port, which asks and shows nobody's name. */
  readonly url: URL;
  /** PEM files. The second holds our service account's token, and both are read anew for each request. */
  readonly caFile: string;
  readonly tokenFile: string;
}

const TIMEOUT_MS = 3000;
/** Ours: kubelet runs some hundred pods at most, of some 10 KiB each. */
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_PODS = 2048;

const POD_LIST = z.object({ items: z.array(z.unknown()).nullable() });

/**
 * The node's own kubelet as the source of its pods. One request runs at a time, and all that ask meanwhile share its
 * answer. The token goes over TLS only, to who proves to be the kubelet.
 */
export function createKubeletSource(options: KubeletOptions): PodSource {
  const now = (): number => performance.now();
  let last: { pods: readonly Pod[]; askedAt: number } = { pods: [], askedAt: Number.NEGATIVE_INFINITY };
  let running: Promise<CarnetError | null> | null = null;
  const refresh = async (): Promise<CarnetError | null> => {
    const askedAt = now();
    try {
      last = { pods: await listPods(options), askedAt };
      return null;
    } catch (error) {
      if (error instanceof CarnetError) return error;
      throw error;
    } finally {
      running = null;
    }
  };
  return {
    name: 'kubelet',
    current: async (maxAgeMs): Promise<KnownPods> => {
      if (now() - last.askedAt <= maxAgeMs) return { pods: last.pods, problem: null };
      running ??= refresh();
      const problem = await running;
      return { pods: last.pods, problem };
    },
  };
}

async function listPods({ url, caFile, tokenFile }: KubeletOptions): Promise<Pod[]> {
  const isSecure = url.protocol === 'https:';
  const { status, json } = await getJson({
    url: new URL('/pods', url),
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
    ...(isSecure && {
      ca: await readText(caFile),
      headers: { authorization: `Bearer ${(await readText(tokenFile)).trim()}` },
    }),
  });
  if (status === 401 || status === 403)
    throw new CarnetError(
      'unavailable',
      `kubelet answers ${status}: our service account may not get nodes/proxy (or nodes/pods), or kubelet has no --authentication-token-webhook`,
    );
  const { data } = POD_LIST.safeParse(json);
  if (status !== 200 || data === undefined)
    throw new CarnetError('unavailable', `kubelet answers ${status} to GET /pods, and no list of pods`);
  return (data.items ?? []).slice(0, MAX_PODS).flatMap((item) => parsePod(item) ?? []);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CarnetError('unavailable', `kubelet can't be asked: ${file} can't be read (${code})`, {
      cause,
    });
  }
}
