import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { type CarnetProcess, spawnCarnet, startCarnet } from '../support/carnet.ts';
import { startChromium } from '../support/chromium.ts';
import { until } from '../support/until.ts';

/** On a machine that does much else besides. */
const TIMEOUT_MS = 90_000;

/** A server, and a browser in which its UI is opened. */
export interface Ui {
  readonly carnet: CarnetProcess;
  /** A page of a browser of its own: no cookies, nothing kept. */
  open(options?: BrowserContextOptions): Promise<WatchedPage>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface WatchedPage {
  readonly page: Page;
  /** What the browser held against the page so far: errors, breaches of the policy, requests to elsewhere. */
  readonly complaints: readonly string[];
}

export async function startUi(args: readonly string[] = ['--grpc-addr', 'off']): Promise<Ui> {
  const carnet = await startCarnet(args);
  try {
    const browser = await startChromium();
    return {
      carnet,
      open: (options) => openPage(browser, carnet.url, options),
      [Symbol.asyncDispose]: async () => {
        await browser.close();
        await carnet[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await carnet[Symbol.asyncDispose]();
    throw error;
  }
}

/** A page of a browser of its own at `url`, where all of it is to come from. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    // What fades in has too little contrast until it is there.
    reducedMotion: 'reduce',
    baseURL: url,
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // A refusal is what a page must cope with; Chromium writes each of them down as an error.
    const isRefusal = /^Failed to load resource/.test(message.text());
    if ((message.type() === 'error' || message.type() === 'warning') && !isRefusal)
      complaints.push(`${message.type()}: ${message.text()}`);
  });
  const own = new URL(url).origin;
  page.on('request', (request) => {
    const target = new URL(request.url());
    // A provider's pages, where one signs in, are not ours to judge.
    const isOurs = page.url() === 'about:blank' || new URL(page.url()).origin === own;
    if (isOurs && target.protocol !== 'blob:' && target.origin !== own && !request.isNavigationRequest())
      complaints.push(`request to ${target.href}`);
  });
  // Nothing leaves the machine, whatever such a page asks for.
  await context.route(
    ({ hostname }) => !/^(?:127\.0\.0\.1|localhost)?$/.test(hostname),
    (route) => route.abort(),
  );
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
      reportError(new Error(`policy: ${violatedDirective} by ${blockedURI} ${sample}`)),
    );
  });
  return { page, complaints };
}

/** The token of a role that the first start wrote. */
export function tokenOf({ carnet }: Pick<Ui, 'carnet'>, role: 'admin' | 'auditor'): string {
  return readFileSync(join(carnet.dataDir, `${role}.token`), 'utf8').trim();
}

/** Fills in the form that stands where the page was. */
export async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}

/** What axe-core finds on the page as it is now (WCAG 2.2 AA and good practice): one line for each element. */
export async function axeViolations(page: Page): Promise<string[]> {
  // Run by the debugger, where the page's policy doesn't count.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import('axe-core') };
    return axe.run(document, { resultTypes: ['violations'] });
  });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`),
  );
}

/** Gives `count` identities to whoever runs the tests, and one certificate of each. */
export async function issueMany({ carnet }: Pick<Ui, 'carnet'>, count: number): Promise<void> {
  const entries = Array.from({ length: count }, (_, index) => ({
    id: `shop-${index}`,
    spiffe_id: `/shop/till-${String(index).padStart(3, '0')}`,
    selectors: [`unix:uid:${process.getuid?.()}`],
  }));
  await carnet.call('POST', '/v1/entries:apply', { entries });
  // One process, which gets each identity once, and stays until it has all.
  const holder = spawnCarnet(['fetch', '--watch'], { env: { CARNET_AGENT_SOCKET: carnet.agentSocket } });
  try {
    await until('all identities are issued and in the log', async () => {
      const { items } = (await carnet.call('GET', '/v1/issuances?identity_prefix=/shop/&limit=1000')) as {
        items: unknown[];
      };
      const log = (await carnet.call('GET', '/v1/log')) as { waiting_since: string | null };
      return items.length >= count && log.waiting_since === null;
    });
  } finally {
    const ended = once(holder, 'close');
    holder.kill('SIGINT');
    await ended;
  }
}
