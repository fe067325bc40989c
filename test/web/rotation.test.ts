import test from 'ava';
import type { RotationBody } from '../../src/api/rotations.ts';
import { SDS_PROXY_SELECTORS, type SdsProxy, startSdsProxy } from '../support/sds-proxy.ts';
import { until } from '../support/until.ts';
import { axeViolations, signIn, startUi, tokenOf, type Ui } from './ui.ts';

const PHONE = { width: 360, height: 740 };
const REFUSAL = 'Failed to load trusted CA certificates from <inline>';

let ui: Ui;
let operator: string;
let steady: SdsProxy;
let silent: SdsProxy;
test.before(async () => {
  ui = await startUi();
  await ui.carnet.call('POST', '/v1/entries', {
    id: 'proxy',
    spiffe_id: '/edge/proxy',
    selectors: SDS_PROXY_SELECTORS,
  });
  const created = (await ui.carnet.call('POST', '/v1/tokens', { name: 'ann', role: 'operator' })) as {
    token: string;
  };
  operator = created.token;
  steady = await startSdsProxy(ui.carnet.agentSocket, 'steady', 'acknowledge');
  silent = await startSdsProxy(ui.carnet.agentSocket, 'silent', 'acknowledge');
});
test.after.always(async () => {
  await silent?.[Symbol.asyncDispose]();
  await steady?.[Symbol.asyncDispose]();
  await ui?.[Symbol.asyncDispose]();
});

test.serial('an operator rotates the root from its page, and its gates wait for real proxies', async (t) => {
  t.timeout(300_000);
  const { page, complaints } = await ui.open();
  await page.goto('/ui/authorities');
  await signIn(page, operator);
  await page.getByText('No rotation is under way.').waitFor();
  const oldRoot = await activeRoot();
  silent.tell({ answer: 'nothing' });

  await page.getByRole('button', { name: 'Rotate root…' }).click();
  await page.getByLabel('Goes on by itself').uncheck();
  await page.getByLabel('Why, for the record').fill('yearly rotation');
  await page.getByRole('button', { name: 'Begin' }).click();
  const card = page.getByRole('region', { name: 'Root rotation under way' });
  await card.getByText('1 consumer holds it up').waitFor();
  await card.getByText('silent on', { exact: false }).waitFor();
  t.is(await card.locator('[aria-current=step] h3').textContent(), 'Activated next');
  t.regex((await card.locator('.gate.closed').textContent()) ?? '', /1 of 2/);

  await page.getByRole('button', { name: 'Activate…', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Activate', exact: true }).click();
  t.regex((await dialog.getByRole('alert').textContent()) ?? '', /Not now.*1 would be broken: silent/s);

  // What is typed stays, with the focus, whatever is refreshed behind it.
  const reason = dialog.getByLabel('Why, for the record');
  await reason.fill('half a sen');
  for (let refreshes = 0; refreshes < 3; refreshes++)
    await page.waitForResponse((response) => response.url().endsWith('/v1/rotations'));
  await page.keyboard.insertText('tence');
  t.is(await reason.inputValue(), 'half a sentence');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  t.is(await activeRoot(), oldRoot);

  silent.tell({ answer: 'acknowledge' });
  await card.getByText('Nothing holds it up').waitFor();
  t.is(await activeRoot(), oldRoot, 'step by step it waits for its operator');
  await page.getByRole('button', { name: 'Activate…', exact: true }).click();
  await dialog.getByRole('button', { name: 'Activate', exact: true }).click();
  await page.locator('.timeline li.done h3', { hasText: 'Activated' }).waitFor();

  await page.getByRole('button', { name: 'Let it go on by itself…' }).click();
  await dialog.getByRole('button', { name: 'Let it go on', exact: true }).click();
  await page.getByText('No rotation is under way.').waitFor();
  const over = page.getByRole('row', { name: /Root/ }).filter({ hasText: 'yearly rotation' });
  await over.getByText('done').waitFor();
  t.regex((await over.textContent()) ?? '', /operator:ann/);
  t.not(await activeRoot(), oldRoot);
  await page.getByText('1 retired').first().waitFor();
  t.deepEqual(complaints, []);
});

test.serial('what stands under way is legible to all: axe, both themes, wide and on a phone', async (t) => {
  t.timeout(300_000);
  silent.tell({ answer: 'reject', message: REFUSAL });
  await ui.carnet.cli('root', 'prepare', '--reason', 'a look');
  await until('it waits for who refuses', async () => (await rotation())?.laggards[0]?.problem);
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, complaints } = await ui.open({ colorScheme });
    await page.goto('/ui/authorities');
    await signIn(page, operator);
    await page.getByText(REFUSAL).waitFor();
    t.deepEqual(await axeViolations(page), [], `${colorScheme}, authorities`);
    await page.getByRole('button', { name: 'Taint root…' }).click();
    t.deepEqual(await axeViolations(page), [], `${colorScheme}, a dialog`);
    await page.keyboard.press('Escape');
    await page.setViewportSize(PHONE);
    t.deepEqual(await axeViolations(page), [], `${colorScheme}, on a phone`);
    t.true((await page.evaluate(() => document.documentElement.scrollWidth)) <= PHONE.width);
    await page.goto('/ui/fleet');
    await page.getByRole('row', { name: /silent/ }).waitFor();
    t.deepEqual(await axeViolations(page), [], `${colorScheme}, fleet on a phone`);
    t.true((await page.evaluate(() => document.documentElement.scrollWidth)) <= PHONE.width);
    t.deepEqual(complaints, []);
  }
});

test.serial('the fleet says who holds it up, and who refuses what, and finds them by URL', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/fleet');
  await signIn(page, tokenOf(ui, 'auditor'));
  await page.getByText('The root rotation waits for 1 consumer.').waitFor();
  const first = page.locator('tbody tr').first();
  await first.getByRole('cell').getByText(REFUSAL).waitFor();
  t.regex((await first.textContent()) ?? '', /silent.*refused/s, 'the worst stand first');
  t.is(await page.locator('tbody tr').count(), 2);

  await page.getByRole('link', { name: /current/ }).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  t.is(new URL(page.url()).searchParams.get('state'), 'current');
  await page.getByRole('searchbox').fill('nobody');
  await page.getByText('No proxy fits.').waitFor();
  await page.getByRole('searchbox').fill('stead');
  await page.getByRole('row', { name: /steady/ }).waitFor();
  t.is(new URL(page.url()).search, '?state=current&search=stead');
  await page.goBack();
  await page.waitForFunction(
    () => document.querySelector<HTMLInputElement>('input[type=search]')?.value === '',
  );
  t.deepEqual(complaints, []);
});

test.serial('an auditor sees the rotation and has no button, and the API refuses the session', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/authorities');
  await signIn(page, tokenOf(ui, 'auditor'));
  await page.getByRole('region', { name: 'Root rotation under way' }).waitFor();
  await page.getByRole('heading', { name: 'Roots' }).waitFor();
  t.deepEqual(await page.locator('main button').allTextContents(), []);
  const refused = await page.evaluate(async () => {
    const { csrf } = (await (await fetch('/v1/session')).json()) as { csrf: string };
    const send = (path: string, body: object) =>
      fetch(path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Carnet-CSRF': csrf },
        body: JSON.stringify(body),
      });
    const answers = [
      await send('/v1/rotations', { kind: 'root' }),
      await send('/v1/rotations/root', { request: 'activate', force: true }),
      await send('/v1/rotations/root', { request: 'abort' }),
    ];
    return answers.map(({ status }) => status);
  });
  t.deepEqual(refused, [403, 403, 403]);
  t.is((await rotation())?.requested, null);
  t.deepEqual(complaints, []);
});

test.serial('by force it says how many handshakes may fail, wants a reason, and is on record', async (t) => {
  t.timeout(300_000);
  const { page, complaints } = await ui.open();
  await page.goto('/ui/authorities');
  await signIn(page, tokenOf(ui, 'admin'));
  await page.getByRole('button', { name: 'Force it to activate…' }).click();
  const dialog = page.getByRole('dialog');
  t.regex(
    (await dialog.textContent()) ?? '',
    /1 of 2 consumers does not trust the new one yet.*Handshakes of 1 of the 1 pairs of consumers may fail/s,
  );
  await dialog.getByRole('button', { name: 'Activate by force' }).click();
  t.true(await dialog.isVisible(), 'not without a reason');
  await dialog.getByLabel('Why, for the record').fill('the refusing one is ours');
  await dialog.getByRole('button', { name: 'Activate by force' }).click();
  await page.locator('.timeline li.done h3', { hasText: 'Activated' }).waitFor();
  t.true(await page.evaluate(() => document.activeElement !== document.body), 'the focus is somewhere');

  await page.getByRole('button', { name: 'Go back…' }).click();
  await dialog.getByRole('button', { name: 'Go back', exact: true }).click();
  await until('the old root signs again', async () => (await rotation())?.hands_free);
  silent.tell({ answer: 'acknowledge', reconnect: true });
  await page.getByText('No rotation is under way.').waitFor();

  await page.goto('/ui/events?action=rotation.activate&actor=operator:admin');
  await page.getByText('the refusing one is ours').waitFor();
  t.regex((await page.locator('.stream').textContent()) ?? '', /by operator:admin.*force.*true/s);
  await page.goto('/ui/events?action=rotation.force&actor=operator:admin');
  await page.getByText('left behind').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('a taint wants the ID of the authority to be typed, and replaces it', async (t) => {
  t.timeout(300_000);
  const { page, complaints } = await ui.open();
  const doomed = await activeRoot();
  await page.goto('/ui/authorities');
  await signIn(page, operator);
  await page.getByRole('button', { name: 'Taint root…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Type').fill('root-00000000');
  await dialog.getByLabel('Why, for the record').fill('key found in a backup');
  await dialog.getByRole('button', { name: 'Taint it' }).click();
  t.regex((await dialog.getByRole('alert').textContent()) ?? '', new RegExp(`is not ${doomed}`));
  t.is(await rotation(), undefined);
  silent.tell({ answer: 'nothing' });
  await dialog.getByLabel('Type').fill(doomed);
  await dialog.getByRole('button', { name: 'Taint it' }).click();
  const card = page.getByRole('region', { name: 'Root rotation under way' });
  await card.getByText('compromised').first().waitFor();
  await page.locator('tr', { hasText: doomed }).getByText('tainted').waitFor();
  silent.tell({ answer: 'acknowledge' });
  await page.getByText('No rotation is under way.').waitFor();
  t.not(await activeRoot(), doomed);
  t.deepEqual(complaints, []);
});

async function rotation(): Promise<RotationBody | undefined> {
  const { items } = (await ui.carnet.call('GET', '/v1/rotations')) as { items: RotationBody[] };
  return items.find(({ kind }) => kind === 'root');
}

async function activeRoot(): Promise<string> {
  const { items } = (await ui.carnet.call('GET', '/v1/authorities')) as {
    items: { id: string; kind: string; state: string }[];
  };
  return items.find(({ kind, state }) => kind === 'root' && state === 'active')?.id ?? 'none';
}
