import test from 'ava';
import { joinTokenFor, launchAgent } from '../support/agent.ts';
import { freePort } from '../support/free-port.ts';
import { axeViolations, signIn, startUi, tokenOf, type Ui } from './ui.ts';

const PHONE = { width: 360, height: 740 };

let ui: Ui;
let servers: string;
test.before(async () => {
  servers = `127.0.0.1:${await freePort()}`;
  ui = await startUi(['--grpc-addr', servers]);
  const entries = (ttl: string) => [
    { id: 'till', spiffe_id: '/shop/till', selectors: ['unix:uid:4711'], dns_names: ['till.shop'], ttl },
    { id: 'office', spiffe_id: '/office', selectors: ['unix:uid:4712', 'unix:path:/bin/office'] },
  ];
  await ui.carnet.call('POST', '/v1/entries:apply', { entries: entries('30m') });
  await ui.carnet.call('POST', '/v1/entries:apply', { entries: entries('45m') });
  await ui.carnet.call('POST', '/v1/revocations', { identity: '/shop/till', reason: 'lost till' });
});
test.after.always(() => ui?.[Symbol.asyncDispose]());

test.serial('an event says what was before and after, and leads to what it is about', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/events');
  await signIn(page, tokenOf(ui, 'auditor'));
  await page.getByText('Filters').click();
  const refreshed = page.waitForResponse((response) => response.url().includes('/v1/operator-events'));
  await page.getByLabel('Action').fill('entry.');
  // A refresh takes nothing away of what is being typed.
  await refreshed;
  await page.getByLabel('Subject').fill('till');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.event').length === 2);
  t.is(new URL(page.url()).search, '?action=entry.&subject=till');
  const update = page.locator('.event').first();
  t.regex((await update.textContent()) ?? '', /entry\.update till/);
  const changed = update.locator('dd', { has: page.locator('del') }).filter({ hasText: '2700' });
  t.is(await changed.locator('del').textContent(), '1800');
  t.is(await changed.locator('ins').textContent(), '2700');

  await update.getByRole('link', { name: 'till', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Registration entries' }).waitFor();
  await page.getByRole('row', { name: /till/ }).waitFor();
  t.is(await page.locator('tbody tr').count(), 1);
  await page.getByRole('link', { name: 'Versions of till' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.event').length === 2);

  await page.getByRole('link', { name: 'Take away the filter Subject till' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.event').length > 2);
  await page.getByLabel('Before').fill('2020-01-01T00:00');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('No event fits.').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('an operator may not read the events, and is told so', async (t) => {
  const { token } = (await ui.carnet.call('POST', '/v1/tokens', { name: 'ann', role: 'operator' })) as {
    token: string;
  };
  const { page, complaints } = await ui.open();
  await page.goto('/ui/events');
  await signIn(page, token);
  t.regex((await page.getByRole('alert').textContent()) ?? '', /Your role may not do this/);
  const pages = page.getByRole('navigation', { name: 'Pages' });
  await pages.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('link', { name: 'Issued' }).waitFor();
  t.is(await pages.getByRole('link', { name: 'Events' }).count(), 0);
  t.deepEqual(complaints, []);
});

test.serial('entries are found by identity and selector', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/entries');
  await signIn(page, tokenOf(ui, 'auditor'));
  for (const [typed, id] of [
    ['/SHOP', 'till'],
    ['/bin/office', 'office'],
  ] as const) {
    await page.getByRole('searchbox').fill(typed);
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    await page.getByRole('row', { name: new RegExp(`^${id}`) }).waitFor();
  }
  await page.getByRole('searchbox').fill('nothing like it');
  await page.getByText('No entry fits.').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('a revocation is lifted by whoever may, after being asked', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/revocations');
  await signIn(page, tokenOf(ui, 'admin'));
  const row = page.getByRole('row', { name: /\/shop\/till/ });
  await row.getByText('lost till').waitFor();
  await row.getByRole('button', { name: 'Lift revocation' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Lift it' }).click();
  await row.getByText('lifted', { exact: true }).waitFor();
  t.is(await row.getByRole('button').count(), 0);
  t.deepEqual(complaints, []);
});

test.serial('an operator bans the agent of a node, and lifts the ban; an auditor can not', async (t) => {
  t.timeout(240_000);
  await using agent = await launchAgent({ servers, joinToken: await joinTokenFor(ui.carnet, 'edge') });
  await agent.ready();
  const auditor = await ui.open();
  await auditor.page.goto('/ui/fleet/agents');
  await signIn(auditor.page, tokenOf(ui, 'auditor'));
  await auditor.page.getByRole('row', { name: /edge/ }).getByText('connected').waitFor();
  t.deepEqual(await auditor.page.locator('main button').allTextContents(), []);

  const { page, complaints } = await ui.open();
  await page.goto('/ui/fleet/agents');
  await signIn(page, tokenOf(ui, 'admin'));
  const row = page.getByRole('row', { name: /edge/ });
  await row.getByRole('button', { name: 'Ban edge…' }).click();
  await page.getByLabel('Why').fill('stolen');
  await page.getByRole('dialog').getByRole('button', { name: 'Ban it' }).click();
  await row.getByText('banned').waitFor();
  t.regex((await row.textContent()) ?? '', /by operator:admin.*: stolen/s);
  await row.getByRole('button', { name: 'Unban edge…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Lift it' }).click();
  await row.getByText('banned').waitFor({ state: 'detached' });
  t.deepEqual([...complaints, ...auditor.complaints], []);
});

for (const colorScheme of ['light', 'dark'] as const)
  test.serial(
    `axe finds nothing against the operators' pages, ${colorScheme}, wide and on a phone`,
    async (t) => {
      const { page, complaints } = await ui.open({ colorScheme });
      await page.goto('/ui/fleet');
      await signIn(page, tokenOf(ui, 'admin'));
      for (const path of [
        '/ui/fleet',
        '/ui/fleet/agents',
        '/ui/authorities',
        '/ui/entries',
        '/ui/revocations',
        '/ui/events?action=entry.',
        '/ui/events?actor=nobody',
      ]) {
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.goto(path);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.getByText('Loading…').waitFor({ state: 'detached' });
        await page.waitForLoadState('networkidle');
        t.deepEqual(await axeViolations(page), [], path);
        await page.setViewportSize(PHONE);
        t.deepEqual(await axeViolations(page), [], `${path} on a phone`);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        t.true(width <= PHONE.width, `${path} is ${width} px wide on a phone`);
      }
      t.deepEqual(complaints, []);
    },
  );
