import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { copyIssuances } from '../test/web/copy-issuances.ts';
import { issueMany, signIn, startUi, tokenOf } from '../test/web/ui.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const HOURS = 20 * 24;

interface Case {
  readonly name: string;
  /** Resolves when what was asked for is on the screen. */
  readonly run: (page: Page, round: number) => Promise<void>;
}

/**
 * `npm run bench -- ui [--rows N] [--runs N]`: how long a person waits for each page in a real Chromium, with many
 * issuances on record, and how many elements a page has.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { rows: { type: 'string', default: '1000000' }, runs: { type: 'string', default: '30' } },
  });
  await using ui = await startUi();
  await issueMany(ui, 3);
  await copyIssuances(ui.carnet, Number(values.rows), HOURS);
  const { page } = await ui.open();
  await page.goto('/ui/');
  await signIn(page, tokenOf(ui, 'auditor'));
  process.stdout.write(`${machine()}\n${values.rows} issuances; ${values.runs} runs each\n\n`);
  const rows: (string | number)[][] = [];
  for (const { name, run: one } of CASES) {
    const took: number[] = [];
    for (let round = 0; round < Number(values.runs); round++) {
      const begin = performance.now();
      await one(page, round);
      took.push(performance.now() - begin);
    }
    const elements = await page.evaluate(() => document.querySelectorAll('*').length);
    rows.push([name, percentile(took, 0.5), percentile(took, 0.99), elements]);
  }
  process.stdout.write(formatTable(['what', 'p50 ms', 'p99 ms', 'elements'], rows));
}

const CASES: readonly Case[] = [
  { name: 'the overview, loaded', run: (page) => shown(page, '/ui/', '.tile .figure b:not(:text("–"))') },
  { name: 'the issuances, loaded', run: (page) => shown(page, '/ui/issuances', 'tbody tr') },
  { name: 'the next page of them', run: (page) => afterClick(page, 'a[rel=next]') },
  { name: 'a search, from its last key on (which waits 250 ms)', run: typed },
  { name: 'one issuance, loaded, and back', run: opened },
];

async function shown(page: Page, path: string, selector: string): Promise<void> {
  await page.goto(path);
  await page.locator(selector).first().waitFor();
}

async function afterClick(page: Page, selector: string): Promise<void> {
  const first = await page.locator('tbody a').first().getAttribute('href');
  await page.locator(selector).click();
  await page.waitForFunction(
    (href) => document.querySelector('tbody a')?.getAttribute('href') !== href,
    first,
  );
}

async function typed(page: Page, round: number): Promise<void> {
  const text = `/${['payments', 'orders', 'search', 'media', 'edge'][round % 5]}/`;
  await page.getByRole('searchbox').fill(text);
  await page.waitForFunction((start) => {
    const rows = [...document.querySelectorAll('table[aria-busy=false] tbody .identity')];
    return rows.length > 0 && rows.every((row) => row.textContent?.includes(start));
  }, text);
}

async function opened(page: Page): Promise<void> {
  const href =
    (await page
      .locator('tbody a')
      .first()
      .getAttribute('href')
      .catch(() => null)) ?? page.url();
  await page.goto(href);
  await page.getByRole('button', { name: 'Verify proof' }).waitFor();
  await page.goBack();
  await page.locator('tbody a').first().waitFor();
}
