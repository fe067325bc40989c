import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'ava';
import { issueMany, signIn, startUi, tokenOf, type Ui } from './ui.ts';

let ui: Ui;
test.before(async () => {
  ui = await startUi();
  await issueMany(ui, 60);
});
test.after.always(() => ui?.[Symbol.asyncDispose]());

test.serial(
  'an auditor: from a link, over sign-in and search, to a certificate whose proof the browser verified',
  async (t) => {
    const { page, complaints } = await ui.open({ acceptDownloads: true });
    await page.goto('/ui/issuances?profile=x509-svid');
    await signIn(page, tokenOf(ui, 'auditor'));
    t.is(new URL(page.url()).search, '?profile=x509-svid', 'one is where one wanted to be');

    const search = page.getByRole('searchbox');
    await page.keyboard.press('/');
    t.true(await search.evaluate((box) => box === document.activeElement));
    await search.pressSequentially('/shop/till-042');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    t.is(new URL(page.url()).searchParams.get('q'), '/shop/till-042');

    await page.getByRole('link', { name: '/shop/till-042' }).click();
    await page.getByRole('heading', { level: 1, name: 'spiffe://carnet.local/shop/till-042' }).waitFor();
    await page.getByRole('button', { name: 'Verify proof' }).click();
    t.is(await page.locator('.stamp').textContent(), 'Verified');
    t.is(await page.locator('.steps li.holds').count(), 3);
    t.is(await page.locator('.steps li.fails').count(), 0);

    await page.getByText('granted this').waitFor();
    t.regex(
      (await page.locator('.card', { hasText: 'Rule as it was' }).textContent()) ?? '',
      /shop-42.*version 1.*operator:admin/s,
    );

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download PEM' }).click(),
    ]);
    const pem = readFileSync((await download.path()) ?? '');
    const { raw } = new X509Certificate(pem);
    const shown = await page
      .locator('dt', { hasText: /^SHA-256$/ })
      .locator('+ dd')
      .textContent();
    t.is(shown, createHash('sha256').update(raw).digest('hex'));
    t.is(await page.getByRole('button', { name: 'Revoke…' }).count(), 0, 'an auditor changes nothing');

    await page.goBack();
    t.is(await search.inputValue(), '/shop/till-042');
    t.deepEqual(complaints, []);
  },
);

test.serial('what was typed is in the URL, and its meaning is said', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/issuances');
  await signIn(page, tokenOf(ui, 'auditor'));
  const { items } = (await ui.carnet.call('GET', '/v1/issuances?identity=/shop/till-007')) as {
    items: { serial: string; public_key_sha256: string; instance: string }[];
  };
  const [one] = items;
  const meanings: [typed: string, meaning: string][] = [
    [one?.serial ?? '', 'Serial'],
    [(one?.serial ?? '').toUpperCase().replace(/..(?=.)/g, '$&:'), 'Serial'],
    [one?.public_key_sha256 ?? '', 'Fingerprint'],
    ['spiffe://carnet.local/shop/till-007', 'Identity, beginning'],
    ['shop/till-007', 'Identity, beginning'],
  ];
  for (const [typed, meaning] of meanings) {
    await page.getByRole('searchbox').fill(typed);
    await page.getByText(`${meaning}: `).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    t.true((await page.locator('tbody tr').textContent())?.includes('/shop/till-007'), typed);
  }
  await page.getByRole('searchbox').fill('nobody-has-this');
  await page.getByText('Nothing on record fits.').waitFor();
  t.deepEqual(complaints, []);
});

test.serial('the overview counts what was issued, in a chart and in its table', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/');
  await signIn(page, tokenOf(ui, 'auditor'));
  const tile = page.locator('.tile', { hasText: 'Issued' });
  // What was recorded is counted within some seconds, and the page looks again.
  await page.waitForFunction(() => Number(document.querySelector('.tile .figure b')?.textContent) >= 60);
  await tile.getByText('As a table').click();
  const rows = await tile.locator('tbody tr').allTextContents();
  t.is(rows.length, 24);
  t.true(
    rows.some((row) => /\d\d:00\s*[1-9]/.test(row)),
    rows.join(),
  );
  t.deepEqual(complaints, []);
});

test.serial('a list of any length is read page by page, and back', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/issuances');
  await signIn(page, tokenOf(ui, 'auditor'));
  await page.locator('tbody tr').first().waitFor();
  t.is(await page.locator('tbody tr').count(), 50);
  const first = await page.locator('tbody a').first().getAttribute('href');
  await page.getByRole('link', { name: 'Older' }).click();
  await page.getByText('to the end').waitFor();
  t.true((await page.locator('tbody tr').count()) < 50);
  await page.goBack();
  await page.waitForFunction(
    (href) => document.querySelector('tbody a')?.getAttribute('href') === href,
    first,
  );
  t.deepEqual(complaints, []);
});

test.serial('an operator revokes a certificate, and only after being asked', async (t) => {
  const { page, complaints } = await ui.open();
  await page.goto('/ui/issuances?q=/shop/till-013');
  await signIn(page, tokenOf(ui, 'admin'));
  await page.getByRole('link', { name: '/shop/till-013' }).click();
  await page.getByRole('button', { name: 'Revoke…' }).click();
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('Not revoked.').waitFor();
  await page.getByRole('button', { name: 'Revoke…' }).click();
  await page.getByLabel('Reason code').selectOption('keyCompromise');
  await page.getByLabel('Why, for the record').fill('lost till');
  await page.getByRole('button', { name: 'Revoke it' }).click();
  await page.getByText('keyCompromise: lost till').waitFor();
  t.is(await page.getByText('Not revoked.').count(), 0);
  t.deepEqual(complaints, []);
});
