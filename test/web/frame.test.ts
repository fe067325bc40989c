import test from 'ava';
import { axeViolations, issueMany, signIn, startUi, tokenOf, type Ui } from './ui.ts';

/** Every page; the test of a page that is missing here is missing. `SERIAL` is one on record. */
const PAGES = [
  '/ui/',
  '/ui/issuances',
  '/ui/issuances/SERIAL',
  '/ui/fleet',
  '/ui/fleet/agents',
  '/ui/authorities',
  '/ui/entries',
  '/ui/revocations',
  '/ui/events',
  '/ui/nowhere',
];
const PHONE = { width: 360, height: 740 };

let ui: Ui;
let serial: string;
test.before(async () => {
  ui = await startUi();
  await issueMany(ui, 3);
  const { items } = (await ui.carnet.call('GET', '/v1/issuances?identity_prefix=/shop/')) as {
    items: { serial: string }[];
  };
  serial = items[0]?.serial ?? '';
});
test.after.always(() => ui?.[Symbol.asyncDispose]());

for (const colorScheme of ['light', 'dark'] as const)
  test.serial(`axe finds nothing against any page, ${colorScheme}, wide and on a phone`, async (t) => {
    const { page, complaints } = await ui.open({ colorScheme });
    await page.goto('/ui/');
    await page.getByLabel('Token').waitFor();
    t.deepEqual(await axeViolations(page), [], 'sign-in');
    await signIn(page, tokenOf(ui, 'admin'));
    for (const path of PAGES) {
      await page.setViewportSize({ width: 1280, height: 900 });
      await page.goto(path.replace('SERIAL', serial));
      await page.getByRole('heading', { level: 1 }).waitFor();
      await page.waitForLoadState('networkidle');
      t.deepEqual(await axeViolations(page), [], path);
      await page.setViewportSize(PHONE);
      t.deepEqual(await axeViolations(page), [], `${path} on a phone`);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      t.true(width <= PHONE.width, `${path} is ${width} px wide on a phone`);
    }
    t.deepEqual(complaints, []);
  });

test.serial('a token that is not known is refused, and nothing of one stays in the browser', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/issuances');
  await page.getByLabel('Token').fill('carnet_admin_0000000000000000000000000000000000000000000');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  t.is(await page.getByLabel('Token').inputValue(), '');
  await signIn(page, tokenOf(ui, 'auditor'));
  t.deepEqual(await page.evaluate(() => [document.cookie, { ...localStorage }, { ...sessionStorage }]), [
    '',
    {},
    {},
  ]);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  await page.reload();
  await page.getByLabel('Token').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('the keyboard alone goes everywhere: skip link, pages, focus on what came', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/');
  await page.waitForFunction(() => document.activeElement?.id === 'token');
  await page.keyboard.insertText(tokenOf(ui, 'auditor'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
  await page.keyboard.press('Tab');
  t.is(await focused(), 'Skip to the content');
  const seen = new Set<string>();
  for (let presses = 0; presses < 20 && !seen.has('Sign out'); presses++) {
    await page.keyboard.press('Tab');
    seen.add(await focused());
  }
  t.true(
    ['Overview', 'Issuances', 'Sign out'].every((one) => seen.has(one)),
    [...seen].join(),
  );
  await page.getByRole('link', { name: 'Issuances' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  t.is(await page.title(), 'Issuances · Carnet');
  await page.keyboard.press('Tab');
  t.is(await page.evaluate(() => document.activeElement?.id), 'q');
  t.deepEqual(complaints, []);
});

test.serial('a theme that was chosen stays, before anything is painted', async (t) => {
  const { page, complaints } = await ui.open({ colorScheme: 'light' });
  await page.goto('/ui/');
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.getByLabel('Theme').selectOption('dark');
  const dark = await background();
  t.not(dark, light);
  await page.reload();
  t.is(await background(), dark);
  await page.getByLabel('Theme').selectOption('system');
  t.is(await background(), light);
  t.deepEqual(complaints, []);
});

test.serial(
  'a server that is away leaves what was shown, with a notice; a session that ended comes back to its page',
  async (t) => {
    await using own = await startUi();
    await own.carnet.cli('fetch');
    const { page } = await own.open();
    await page.goto('/ui/');
    await signIn(page, tokenOf(own, 'auditor'));
    await page.getByText('All is in order.').waitFor();
    await own.carnet.kill();
    await page.getByRole('alert').first().waitFor();
    t.regex(
      (await page.getByRole('alert').first().textContent()) ?? '',
      /does not answer.*What is shown is from/s,
    );
    t.regex((await page.locator('.tile', { hasText: 'Log' }).textContent()) ?? '', /\d+ entries/);
    await own.carnet.restart();
    await page.getByRole('alert').first().waitFor({ state: 'detached' });

    await page.goto('/ui/issuances?q=/user');
    await page.locator('tbody tr').first().waitFor();
    await page.context().clearCookies();
    await page.getByRole('searchbox').fill('/use');
    await page.getByText('Your session has ended.').waitFor();
    await signIn(page, tokenOf(own, 'auditor'));
    t.is(new URL(page.url()).searchParams.get('q'), '/use');
    await page.locator('tbody tr').first().waitFor();
  },
);
