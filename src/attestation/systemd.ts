import { foundSelectors, type WorkloadAttestor } from './findings.ts';

const SLICE = /^[^/]+\.slice$/;
const UNIT = /^[^/]+\.(?:service|scope)$/;

/**
 * Attests the units of the system's systemd, by the cgroup that systemd makes for each and names after it: the
 * kernel's word on where a process is, where D-Bus would be systemd's word on a pid that may be another's by then.
 *
 * The outermost unit counts. What is below it was named by the unit itself where it may have a subtree
 * (`Delegate=`), and for `user@1000.service` by the user: there the unit is that service and no unit of his own.
 */
export const SYSTEMD_ATTESTOR: WorkloadAttestor = {
  method: 'systemd',
  attest: async ({ cgroups, container }) => {
    // A container's scope is named after its ID, which `container:id` says already.
    const unit = container === null ? unitOf(cgroups) : null;
    return unit === null ? null : { selectors: foundSelectors([['systemd:unit', unit]]), evidence: { unit } };
  },
};

/**
 * The unit in the lines of /proc/<pid>/cgroup: systemd's own hierarchy of v1, where there is one, else v2's. None
 * from inside of a cgroup namespace, where leading `..` hide what the path begins with.
 */
export function unitOf(cgroups: readonly string[]): string | null {
  const line =
    cgroups.find((one) => one.split(':')[1] === 'name=systemd') ??
    cgroups.find((one) => one.startsWith('0::'));
  const [, ...segments] = (line ?? '').split(':').slice(2).join(':').split('/');
  const outermost = segments.find((segment) => !SLICE.test(segment));
  return outermost !== undefined && UNIT.test(outermost) ? outermost : null;
}
