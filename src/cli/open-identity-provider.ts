import { open } from 'node:fs/promises';
import type { IdentityProvider } from '../api/oidc-sign-in.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { CarnetError } from '../errors.ts';
import { OidcProvider } from '../sign-in/oidc-provider.ts';

const SHARED_MODE = 0o077;
const MAX_SECRET_BYTES = 4096;

/** Where people sign in, as configured; null for nowhere. Nothing is asked of it yet. Throws `config_invalid`. */
export async function openIdentityProvider(
  config: ServerConfig,
  clock: Clock,
): Promise<IdentityProvider | null> {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcClientSecretFile: secretFile } = config;
  if (issuer === null || clientId === null) return null;
  return new OidcProvider({
    issuer,
    clientId,
    clientSecret: secretFile === null ? null : await readSecret(secretFile),
    scope: config.oidcScope,
    rules: {
      nameClaim: config.oidcNameClaim,
      roleClaim: config.oidcRoleClaim,
      mappings: config.oidcRole,
    },
    clock,
  });
}

async function readSecret(path: string): Promise<string> {
  const invalid = (why: string, cause?: unknown): CarnetError =>
    new CarnetError('config_invalid', `--oidc-client-secret-file ${path} ${why}`, { cause });
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw invalid(`can't be read: ${error.code}`, error);
  });
  try {
    const { mode, size } = await file.stat();
    if ((mode & SHARED_MODE) !== 0) throw invalid(`can be read by others: run chmod 600 ${path}`);
    const secret = size > MAX_SECRET_BYTES ? '' : (await file.readFile('utf8')).trim();
    if (secret === '') throw invalid('does not hold a secret');
    return secret;
  } finally {
    await file.close();
  }
}
