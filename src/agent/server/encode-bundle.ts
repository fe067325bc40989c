import type { Bundle } from '../../gen/carnet/agent/v1/agent.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';

/** A trust bundle as agents are sent it. */
export function bundleMessage(bundle: TrustBundle): Bundle {
  return {
    ...bundle,
    x509Authorities: [...bundle.x509Authorities],
    crls: [...bundle.crls],
    jwtAuthorities: [...bundle.jwtAuthorities],
  };
}
