import type { KeyStore } from '../ca/key-store.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { HELD_REFRESHES } from '../federation/refresh-time.ts';
import type { ApplyOptions } from '../rotation/apply.ts';

/** How authorities are made and rotated, by the settings. */
export function applyOptionsOf(
  config: ServerConfig,
  store: ApplyOptions['store'],
  keys: KeyStore,
  clock: Clock,
): ApplyOptions {
  return {
    store,
    keys,
    trustDomain: config.trustDomain,
    schedule: {
      rootTtlMs: config.rootCaTtl * 1000,
      issuingTtlMs: config.issuingCaTtl * 1000,
      rootShare: config.rootRotation === 'auto' ? 2 / 3 : null,
      issuingShare: config.issuingCaRotation === 'auto' ? 1 / 2 : null,
      holdSeconds: config.rotationHold,
      jwtKeyTtlMs: config.jwtKeyTtl * 1000,
      jwtShare: config.jwtKeyRotation === 'auto' ? 1 / 2 : null,
      jwtHoldSeconds: jwtHoldOf(config),
    },
    rootKeyType: config.rootKeyType,
    issuingKeyType: config.issuingKeyType,
    jwtKeyType: config.jwtKeyType,
    backdateSeconds: config.notBeforeBackdate,
    publicUrl: config.publicUrl,
    clock,
  };
}

/** Other trust domains read our keys with our bundle: they must have had the time as well. */
function jwtHoldOf({ jwtKeyHold, federationAddr, federationRefreshHint }: ServerConfig): number {
  return federationAddr === null ? jwtKeyHold : Math.max(jwtKeyHold, HELD_REFRESHES * federationRefreshHint);
}
