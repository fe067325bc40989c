import { ROLES, type Role } from './api/role.ts';
import { CarnetError } from './errors.ts';
import { isOwnMachine, pathOf } from './setting-values.ts';
import { type Settings, type SettingValues, setting } from './settings.ts';
import type { RoleMapping } from './sign-in/person.ts';

const text = (value: string): string => value;

/** Of `carnet server`: where people sign in, and who is what by it (docs/ACCESS.md). */
export const OIDC_SETTINGS = {
  oidcIssuer: setting<string | null>(
    'oidc-issuer',
    'URL',
    'the OpenID provider that people sign in at; needs --web-url',
    issuerOf,
    null,
  ),
  oidcClientId: setting<string | null>('oidc-client-id', 'ID', 'as what the provider knows us', text, null),
  oidcClientSecretFile: setting<string | null>(
    'oidc-client-secret-file',
    'PATH',
    'our secret at the provider, in a file of mode 0600 (default: none, a public client)',
    pathOf,
    null,
  ),
  oidcScope: setting(
    'oidc-scope',
    'SCOPES',
    'what is asked for, with spaces between',
    scopeOf,
    'openid email',
  ),
  oidcNameClaim: setting('oidc-name-claim', 'CLAIM', 'the claim that people are named after', text, 'email'),
  oidcRoleClaim: setting(
    'oidc-role-claim',
    'CLAIM',
    'the claim that roles follow from: its name, or a JSON Pointer such as /realm_access/roles',
    text,
    'groups',
  ),
  oidcRole: setting<readonly RoleMapping[]>(
    'oidc-role',
    'ROLE=VALUE[,…]',
    'who has this value in the role claim has this role',
    mappingsOf,
    [],
    'none',
  ),
} as const satisfies Settings;

/** Throws `config_invalid` where people could begin to sign in and never end. */
export function checkOidc(
  config: SettingValues<typeof OIDC_SETTINGS> & { readonly webUrl: string | null },
): void {
  const { oidcIssuer, oidcClientId, oidcClientSecretFile, oidcRole, webUrl } = config;
  const isWhole = oidcClientId !== null && oidcRole.length > 0 && webUrl !== null;
  const isAbsent = oidcClientId === null && oidcClientSecretFile === null && oidcRole.length === 0;
  if (oidcIssuer === null ? isAbsent : isWhole) return;
  throw new CarnetError(
    'config_invalid',
    '--oidc-issuer needs --oidc-client-id, --oidc-role and --web-url; all of --oidc-… need it',
  );
}

/** As the provider writes it, to the letter (OpenID Connect Discovery §4.3): no slash is added or taken away. */
function issuerOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isPrivate = url?.protocol === 'https:' || (url?.protocol === 'http:' && isOwnMachine(url.hostname));
  if (url === null || !isPrivate || url.username !== '' || url.password !== '' || /[?#\s]/.test(value))
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is no issuer: write https://HOST[/PATH] as its /.well-known/openid-configuration has it`,
    );
  return value;
}

function scopeOf(value: string): string {
  if (value.split(' ').includes('openid')) return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} lacks openid, without which nobody is named`,
  );
}

function mappingsOf(value: string): RoleMapping[] {
  return value.split(',').map((part) => {
    const [, role = '', given = ''] = /^([a-z-]+)=(.+)$/.exec(part.trim()) ?? [];
    if (!isRole(role))
      throw new CarnetError(
        'config_invalid',
        `${JSON.stringify(part)} gives nobody a role: write ROLE=VALUE with a role of ${ROLES.join(', ')}`,
      );
    return { role, value: given };
  });
}

function isRole(text: string): text is Role {
  return (ROLES as readonly string[]).includes(text);
}
