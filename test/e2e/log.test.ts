import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { startCarnet } from '../support/carnet.ts';
import { until } from '../support/until.ts';

interface State {
  readonly size: number;
  readonly waiting_since: string | null;
}

test('what a server records is in its log within moments, verified beside it, proved and checked offline', async (t) => {
  await using carnet = await startCarnet();
  const whole = await until('all is in the log', async () => {
    const state = (await carnet.call('GET', '/v1/log').catch(() => null)) as State | null;
    return state !== null && state.size > 0 && state.waiting_since === null && state;
  });
  const { items } = (await carnet.call('GET', '/v1/issuances')) as { items: { serial: string }[] };
  t.true(whole.size > items.length);

  const key = await (await fetch(`${carnet.url}/log/vkey`)).text();
  const checkpoint = join(carnet.dataDir, 'kept.checkpoint');
  writeFileSync(checkpoint, await (await fetch(`${carnet.url}/log/checkpoint`)).text());
  const verified = await carnet.cli('audit', 'verify', '--verifier-key', key, '--checkpoint', checkpoint);
  t.is(verified.code, 0, verified.stderr);
  t.regex(verified.stdout, /^\d+ entries and \d+ checkpoints hold/);

  const file = join(carnet.dataDir, 'evidence.json');
  const serial = items[0]?.serial ?? '';
  const proved = await carnet.cli('audit', 'prove', serial, '--output', file);
  t.is(proved.code, 0, proved.stderr);
  const checked = await carnet.cli('audit', 'verify', '--bundle', file, '--verifier-key', key);
  t.is(checked.code, 0, checked.stderr);
  t.true(checked.stdout.startsWith(serial));

  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/"not_after": "(\d{3})\d/, '"not_after": "$19'));
  const spoilt = await carnet.cli('audit', 'verify', '--bundle', file);
  t.is(spoilt.code, 1);
  t.regex(spoilt.stderr, /not_after of the issuance is not what the log has/);

  const shown = await carnet.cli('audit', 'show', serial);
  t.regex(shown.stdout, /^Log entry +\d+$/m);
  const doctor = await carnet.cli('doctor');
  t.regex(doctor.stdout, /^ok +log +\d+ entries/m);
});
