import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SDS_PROXY_SELECTORS, startSdsProxy } from '../support/sds-proxy.ts';
import { until } from '../support/until.ts';
import { copyIssuances } from './copy-issuances.ts';
import { issueMany, signIn, startUi, tokenOf } from './ui.ts';

/**
 * `npm run screenshots -- DIR`: a picture of each page in both themes, wide and on a phone, of a server with some life in
 * it. For eyes, not for tests.
 */
const SIZES = { wide: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

const directory = resolve(process.argv[2] ?? 'screenshots');
mkdirSync(directory, { recursive: true });
await using ui = await startUi();
await issueMany(ui, 70);
await copyIssuances(ui.carnet, 30_000, 26);
const { items } = (await ui.carnet.call('GET', '/v1/issuances?identity=/shop/till-042')) as {
  items: { serial: string }[];
};
const pages: Readonly<Record<string, string>> = {
  overview: '/ui/',
  issuances: '/ui/issuances',
  search: '/ui/issuances?q=/payments/&node=node-7',
  nothing: '/ui/issuances?q=nobody',
  issuance: `/ui/issuances/${items[0]?.serial}`,
  fleet: '/ui/fleet',
  agents: '/ui/fleet/agents',
  authorities: '/ui/authorities',
  entries: '/ui/entries',
  revocations: '/ui/revocations',
  events: '/ui/events?action=entry.',
};

// A rotation of the root that waits for a proxy which doesn't answer, one that was over before, and a revocation.
await ui.carnet.call('POST', '/v1/entries', {
  id: 'proxy',
  spiffe_id: '/edge/proxy',
  selectors: SDS_PROXY_SELECTORS,
});
await using _steady = await startSdsProxy(ui.carnet.agentSocket, 'edge-1', 'acknowledge');
await using refusing = await startSdsProxy(ui.carnet.agentSocket, 'edge-2', 'acknowledge');
await ui.carnet.cli('jwt', 'rotate', '--no-wait');
await ui.carnet.cli('root', 'prepare', '--issuing', '--reason', 'a try');
await ui.carnet.cli('root', 'abort', '--issuing');
await ui.carnet.call('POST', '/v1/revocations', { identity: '/shop/till-007', reason: 'lost till' });
await using _silent = await startSdsProxy(ui.carnet.agentSocket, 'edge-3', 'nothing');
refusing.tell({ answer: 'reject', message: 'Failed to load trusted CA certificates from <inline>' });
await ui.carnet.cli('root', 'prepare', '--reason', 'yearly rotation');
await until('the rotation waits for two', async () => {
  const { items: under } = (await ui.carnet.call('GET', '/v1/rotations')) as {
    items: { kind: string; laggards: { problem: string | null }[] }[];
  };
  const root = under.find(({ kind }) => kind === 'root');
  return root?.laggards.length === 2 && root.laggards.some(({ problem }) => problem !== null);
});

for (const colorScheme of ['light', 'dark'] as const) {
  const { page, complaints } = await ui.open({ colorScheme });
  const shoot = async (name: string): Promise<void> => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: join(directory, `${name}-${colorScheme}-${size}.png`), fullPage: true });
    }
  };
  await page.goto('/ui/');
  await page.getByLabel('Token').waitFor();
  await shoot('sign-in');
  await signIn(page, tokenOf(ui, 'admin'));
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(path);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.waitForLoadState('networkidle');
    if (name === 'issuance') {
      await page.getByRole('button', { name: 'Verify proof' }).click();
      await page.locator('.stamp').waitFor();
    }
    await shoot(name);
  }
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
}
process.stdout.write(`${directory}\n`);
