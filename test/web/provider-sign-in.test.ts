import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type CarnetProcess, launchCarnet } from '../support/carnet.ts';
import { startChromium } from '../support/chromium.ts';
import { freePort } from '../support/free-port.ts';
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts';
import { axeViolations, openPage } from './ui.ts';

let carnet: CarnetProcess;
let provider: OpenIdProvider;
let browser: Awaited<ReturnType<typeof startChromium>>;
/** Another site than the provider's, so that the browser treats its cookies as it would anywhere. */
let webUrl: string;

test.before(async () => {
  const port = await freePort();
  webUrl = `http://localhost:${port}`;
  provider = await startOpenIdProvider({
    redirectUris: [`${webUrl}/v1/session/oidc/callback`],
    people: {
      eve: { email: 'eve@example.com', groups: ['compliance'] },
      bob: { email: 'bob@example.com', groups: ['sales'] },
      ann: { email: 'ann@example.com', groups: ['oncall', 'compliance'] },
    },
  });
  const secret = join(tmpdir(), `carnet-oidc-secret-${process.pid}`);
  writeFileSync(secret, provider.clientSecret, { mode: 0o600 });
  carnet = await launchCarnet(
    [
      ...['--grpc-addr', 'off', '--web-url', webUrl],
      ...['--oidc-issuer', provider.issuer, '--oidc-client-id', provider.clientId],
      ...['--oidc-client-secret-file', secret, '--oidc-role', 'auditor=compliance,break-glass=oncall'],
    ],
    { port },
  );
  await carnet.ready();
  await carnet.cli('fetch');
  browser = await startChromium();
});
test.after.always(async () => {
  await browser?.close();
  await carnet?.[Symbol.asyncDispose]();
  await provider?.close();
});

test.serial('who comes by a link signs in at the provider, and is back on that page', async (t) => {
  const { page, complaints } = await openPage(browser, webUrl);
  await page.goto('/ui/issuances?q=/user');
  t.deepEqual(await axeViolations(page), []);
  await page.getByRole('link', { name: `Sign in with ${new URL(provider.issuer).host}` }).click();
  await signInAs(page, 'eve');
  await page.locator('tbody tr').first().waitFor();
  const { pathname, search } = new URL(page.url());
  t.is(pathname + search, '/ui/issuances?q=/user');
  t.regex((await page.locator('.account').textContent()) ?? '', /eve@example\.com.*auditor/s);
  await page.reload();
  await page.locator('tbody tr').first().waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('whoever breaks the glass sees that on every page', async (t) => {
  const { page, complaints } = await openPage(browser, webUrl);
  await page.goto('/ui/');
  await page.getByText('In an emergency').click();
  await page.getByRole('link', { name: 'Break the glass' }).click();
  await signInAs(page, 'ann');
  for (const path of ['/ui/', '/ui/issuances']) {
    await page.goto(path);
    const banner = page.getByRole('alert').filter({ hasText: 'break-glass' });
    await banner.waitFor();
    t.deepEqual(await axeViolations(page), [], path);
  }
  t.deepEqual(complaints, []);
});

test.serial('who has no role here is told so, and is not in', async (t) => {
  const { page } = await openPage(browser, webUrl);
  await page.goto('/ui/');
  await page.getByRole('link', { name: /^Sign in with/ }).click();
  await signInAs(page, 'bob');
  await page.getByText('no role here').waitFor();
  t.is(await page.getByRole('heading').textContent(), '403 Forbidden');
  t.deepEqual(await axeViolations(page), []);
  await page.getByRole('link', { name: 'Back to Carnet' }).click();
  await page.getByLabel('Token').waitFor();
  t.pass();
});

/** On the provider's own pages: a name, any password, consent. */
async function signInAs(page: Awaited<ReturnType<typeof openPage>>['page'], name: string): Promise<void> {
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  await page.locator('input[value=consent]').waitFor({ state: 'attached' });
  await page.locator('button[type=submit]').click();
}
