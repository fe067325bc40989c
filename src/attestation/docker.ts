import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { type Findings, type Found, foundSelectors, type WorkloadAttestor } from './findings.ts';
import { getJson } from './get-json.ts';

const TIMEOUT_MS = 3000;
/** Ours: a container with a thousand mounts and variables has some 100 KiB. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Ours: a container's labels and image stay what they are for its life, so no answer is asked for twice. */
const MAX_CACHED = 4096;
/** Ours: labels beyond, by their keys' order, are left out, which can only take grants away. */
const MAX_LABELS = 128;

const CONTAINER = z.object({
  Id: z.string(),
  Name: z.string(),
  /** Of the image's configuration, or with Docker's containerd image store of its manifest: `sha256:<hex>`. */
  Image: z.string(),
  Config: z.object({
    /** As `docker run` named it. */
    Image: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
});
type Container = z.infer<typeof CONTAINER>;

/**
 * Attests containers that the Docker daemon at a Unix socket knows: their labels and image. Their environment is no
 * selector, because it holds secrets. Whoever may write to that socket is root, so it is asked for nothing else.
 */
export function createDockerAttestor(socketPath: string): WorkloadAttestor {
  const cache = new Map<string, Findings>();
  return {
    method: 'docker',
    attest: async ({ container }) => {
      if (container === null) return null;
      const cached = cache.get(container.id);
      if (cached !== undefined) return cached;
      const inspected = await inspect(socketPath, container.id);
      if (inspected === null) return null;
      const findings = findingsOf(inspected);
      const [oldest] = cache.keys();
      if (cache.size >= MAX_CACHED && oldest !== undefined) cache.delete(oldest);
      cache.set(container.id, findings);
      return findings;
    },
  };
}

/** Docker Engine API, ContainerInspect; null where Docker has no such container. */
async function inspect(socketPath: string, id: string): Promise<Container | null> {
  const { status, json } = await getJson({
    url: new URL(`http://docker/containers/${id}/json`),
    socketPath,
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
  });
  if (status === 404) return null;
  const { data } = CONTAINER.safeParse(json);
  if (status !== 200 || data === undefined)
    throw new CarnetError('unavailable', `Docker answers ${status} to an inspection of container ${id}`);
  if (data.Id !== id)
    throw new CarnetError(
      'attestation_failed',
      `Docker was asked for container ${id} and tells of ${data.Id}`,
    );
  return data;
}

function findingsOf({ Name, Image, Config }: Container): Findings {
  const labels = Object.entries(Config.Labels ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, MAX_LABELS);
  const found: Found[] = [
    ['docker:image_id', Config.Image],
    ['docker:image_config_digest', Image],
    ...labels.map(([key, value]): Found => ['docker:label', `${key}:${value}`]),
  ];
  return {
    selectors: foundSelectors(found),
    evidence: {
      name: Name.slice(0, 256),
      image: Config.Image.slice(0, 512),
      image_config_digest: Image.slice(0, 80),
    },
  };
}
