import { accessSync, constants, readFileSync } from 'node:fs';
import { RunningContainers } from '../../src/attestation/running-containers.ts';

/** Where we may make cgroups, v1 and v2, on a machine of which we see all processes. */
export function writableHierarchies(): string[] {
  if (!new RunningContainers('/proc').hasEnded('0'.repeat(64))) return [];
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.flatMap((line) => {
    const [, path = '', type, options = ''] = line.split(' ');
    // A new cpuset takes no process before it is given processors.
    if (!/^cgroup2?$/.test(type ?? '') || /\bcpuset\b/.test(options)) return [];
    try {
      accessSync(path, constants.W_OK);
      return [path];
    } catch {
      return [];
    }
  });
}
