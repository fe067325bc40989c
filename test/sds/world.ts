import type { Resource, Resources } from '../../src/sds/resource.ts';

/** What a caller may have now, as a test changes it: versions by name. */
export class World implements Resources {
  readonly versions = new Map<string, string>();
  complete = true;

  constructor(versions: Record<string, string> = {}) {
    for (const [name, version] of Object.entries(versions)) this.versions.set(name, version);
  }

  get(name: string): Resource | undefined {
    const version = this.versions.get(name);
    return version === undefined
      ? undefined
      : { name, version, expiresAt: null, encoded: Buffer.from(`${name}@${version}`) };
  }
}
