import { type IncomingHttpHeaders, request } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { OidcProvider } from '../../src/sign-in/oidc-provider.ts';
import type { RoleMapping } from '../../src/sign-in/person.ts';
import { type People, signInAtProvider, startOpenIdProvider } from '../support/openid-provider.ts';
import { startApi } from './harness.ts';

const HOST = 'carnet.example';
const WEB_URL = `https://${HOST}`;
const PEOPLE: People = {
  ann: { email: 'ann@example.com', groups: ['platform', 'oncall'] },
  eve: { email: 'eve@example.com', groups: ['compliance'] },
  bob: { email: 'bob@example.com', groups: ['sales'] },
};
const MAPPINGS: readonly RoleMapping[] = [
  { role: 'operator', value: 'platform' },
  { role: 'break-glass', value: 'oncall' },
  { role: 'auditor', value: 'compliance' },
];

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** The API with a real provider, and a browser that reaches it as carnet.example. */
async function start(t: ExecutionContext) {
  const provider = await startOpenIdProvider({
    redirectUris: [`${WEB_URL}/v1/session/oidc/callback`],
    people: PEOPLE,
  });
  t.teardown(() => provider.close());
  const api = await startApi(t, {
    webUrl: WEB_URL,
    identityProvider: new OidcProvider({
      issuer: provider.issuer,
      clientId: provider.clientId,
      clientSecret: provider.clientSecret,
      scope: 'openid email',
      rules: { nameClaim: 'email', roleClaim: 'groups', mappings: MAPPINGS },
      clock: Date.now,
    }),
  });
  return { api, provider, browser: () => new Browser(api.url) };
}

/** Keeps cookies, and follows nothing by itself. */
class Browser {
  readonly cookies = new Map<string, string>();
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  get(url: string, more: Record<string, string> = {}): Promise<Answer> {
    const { pathname, search } = new URL(url, WEB_URL);
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { host: HOST, ...(cookie === '' ? {} : { cookie }), ...more };
    return new Promise((resolve, reject) => {
      request(this.#url + pathname + search, { headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          this.#keep(response.headers['set-cookie'] ?? []);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      })
        .on('error', reject)
        .end();
    });
  }

  /** From our first answer to the URL that the provider sends it back to. */
  async untilCallback(name: string, query = ''): Promise<string> {
    const begun = await this.get(`/v1/session/oidc${query}`);
    return signInAtProvider(begun.headers.location ?? '', name);
  }

  #keep(cookies: readonly string[]): void {
    for (const cookie of cookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }
}

test('a person signs in at a real provider and has the session that the claims give', async (t) => {
  const { api, browser } = await start(t);
  const ann = browser();
  const begun = await ann.get('/v1/session/oidc?to=/ui/issuances%3Fnode=a');
  t.is(begun.status, 303);
  t.regex(
    begun.headers['set-cookie']?.[0] ?? '',
    /^__Host-carnet-sign-in=[^;]+; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax; Secure$/,
  );
  const back = await ann.get(await signInAtProvider(begun.headers.location ?? '', 'ann'));
  t.is(back.status, 303, back.text);
  t.is(back.headers.location, '/ui/issuances?node=a');
  t.deepEqual([...ann.cookies.keys()], ['__Host-carnet-session']);
  const who = JSON.parse((await ann.get('/v1/session')).text);
  t.like(who, { role: 'operator', session: true, expires_at: '2026-03-10T20:00:00.000Z', notice: null });
  t.regex(who.actor, /^operator:ann@example\.com~[0-9a-f]{12}$/);
  t.is((await ann.get('/v1/entries')).status, 200);
  t.is((await ann.get('/v1/tokens')).status, 403);
  t.is([...api.sessions.sessions.values()][0]?.session.method, 'oidc');
});

test('a role that is asked for is had if it may be, break-glass only then', async (t) => {
  const { browser } = await start(t);
  const ann = browser();
  const back = await ann.get(await ann.untilCallback('ann', '?role=break-glass'));
  t.is(back.status, 303, back.text);
  const who = JSON.parse((await ann.get('/v1/session')).text);
  t.like(who, { role: 'break-glass', expires_at: '2026-03-10T13:00:00.000Z' });
  t.regex(who.notice, /glass/);
  const eve = browser();
  const refused = await eve.get(await eve.untilCallback('eve', '?role=admin'));
  t.is(refused.status, 403);
  t.regex(JSON.parse(refused.text).detail, /not the role admin/);
});

test('whom no role is given gets no session', async (t) => {
  const { api, browser } = await start(t);
  const bob = browser();
  const refused = await bob.get(await bob.untilCallback('bob'));
  t.is(refused.status, 403);
  t.regex(JSON.parse(refused.text).detail, /^operator:bob@example\.com~\w+ has no role here/);
  t.is(api.sessions.sessions.size, 0);
  t.is((await bob.get('/v1/session')).status, 401);
});

test('the answer to one browser is of no use in another (login CSRF), nor without its cookie', async (t) => {
  const { api, browser } = await start(t);
  const [attacker, victim, none] = [browser(), browser(), browser()];
  const back = await attacker.untilCallback('eve');
  await victim.get('/v1/session/oidc');
  t.is((await victim.get(back)).status, 401);
  t.is((await none.get(back)).status, 401);
  t.is(api.sessions.sessions.size, 0);
  t.is((await attacker.get(back)).status, 303);
});

test("another site's page begins no sign-in, and so breaks no glass for whom the provider knows", async (t) => {
  const { browser } = await start(t);
  const ann = browser();
  for (const site of ['cross-site', 'same-site']) {
    const { status, headers } = await ann.get('/v1/session/oidc?role=break-glass', {
      'sec-fetch-site': site,
    });
    t.is(status, 403, site);
    t.deepEqual([headers.location, headers['set-cookie']], [undefined, undefined]);
  }
  for (const site of ['same-origin', 'none'])
    t.is((await ann.get('/v1/session/oidc', { 'sec-fetch-site': site })).status, 303, site);
});

test('an answer is good once, also with the cookie put back (replay)', async (t) => {
  const { api, browser } = await start(t);
  const ann = browser();
  const back = await ann.untilCallback('ann');
  const kept = new Map(ann.cookies);
  t.is((await ann.get(back)).status, 303);
  t.is((await ann.get(back)).status, 401);
  for (const [name, value] of kept) ann.cookies.set(name, value);
  t.is((await ann.get(back)).status, 401);
  t.is(api.sessions.sessions.size, 1);
});

test('a sign-in that is ended a second time with another code is refused all the same', async (t) => {
  const { api, browser } = await start(t);
  const ann = browser();
  const begun = await ann.get('/v1/session/oidc');
  const kept = new Map(ann.cookies);
  const [one, two] = [
    await signInAtProvider(begun.headers.location ?? '', 'ann'),
    await signInAtProvider(begun.headers.location ?? '', 'ann'),
  ];
  t.is((await ann.get(one)).status, 303);
  ann.cookies.clear();
  for (const [name, value] of kept) ann.cookies.set(name, value);
  const again = await ann.get(two);
  t.is(again.status, 401);
  t.regex(JSON.parse(again.text).detail, /used already/);
  t.is(api.sessions.sessions.size, 1);
});

test('a sign-in that was begun more than ten minutes ago is over', async (t) => {
  const { api, browser } = await start(t);
  const ann = browser();
  const back = await ann.untilCallback('ann');
  api.time.now += 600_000;
  t.is((await ann.get(back)).status, 401);
});

test('a cookie whose page or time was changed has another state', async (t) => {
  const { browser } = await start(t);
  const ann = browser();
  const back = await ann.untilCallback('ann');
  const [seconds, secret] = ann.cookies.get('__Host-carnet-sign-in')?.split('.') ?? [];
  const about = Buffer.from(JSON.stringify({ to: '/elsewhere', role: 'admin' })).toString('base64url');
  ann.cookies.set('__Host-carnet-sign-in', `${seconds}.${secret}.${about}`);
  t.is((await ann.get(back)).status, 401);
});

for (const to of [
  'https://evil.example/',
  '//evil.example/',
  '/\\evil.example/',
  '\\\\evil.example',
  '/\t/evil.example',
  'javascript:alert(1)',
  'ui',
  '',
])
  test(`nobody is sent to ${JSON.stringify(to)} after a sign-in`, async (t) => {
    const { browser } = await start(t);
    const { status, headers } = await browser().get(`/v1/session/oidc?to=${encodeURIComponent(to)}`);
    t.is(status, 400);
    t.is(headers.location, undefined);
  });

test('a path that only becomes another site when it is read stays a path', async (t) => {
  const { browser } = await start(t);
  const ann = browser();
  const back = await ann.get(
    await ann.untilCallback('ann', `?to=${encodeURIComponent('/.//evil.example/x')}`),
  );
  t.is(back.headers.location, '/evil.example/x');
});

test('neither code nor state nor any cookie is written to the log', async (t) => {
  const { api, browser } = await start(t);
  const ann = browser();
  const back = await ann.untilCallback('ann');
  const secrets = [...ann.cookies.values(), ...new URL(back).searchParams.values()];
  await ann.get(back.replace('state=', 'state=x'));
  await ann.get(back);
  secrets.push(...ann.cookies.values());
  const said = api.logged.join('');
  t.true(said.includes('/v1/session/oidc/callback'));
  for (const secret of secrets.filter((text) => !text.startsWith('http')))
    t.false(said.includes(secret), secret);
});

test('a server without a provider says so', async (t) => {
  const api = await startApi(t);
  const answers = await Promise.all(
    ['/v1/session/methods', '/v1/session/oidc', '/v1/session/oidc/callback'].map((path) =>
      fetch(api.url + path),
    ),
  );
  t.deepEqual(
    answers.map(({ status }) => status),
    [200, 404, 404],
  );
  t.deepEqual(await answers[0]?.json(), { token: true, oidc: null });
});
