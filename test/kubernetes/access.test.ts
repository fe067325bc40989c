import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { stringify } from 'yaml';
import { errorCodeOf } from '../../src/errors.ts';
import { openAccess } from '../../src/kubernetes/access.ts';

const directory = mkdtempSync(join(tmpdir(), 'carnet-access-'));
test.after.always(() => rmSync(directory, { recursive: true }));

let files = 0;
function kubeconfig(
  change: { cluster?: object; user?: object; context?: object; current?: string } = {},
): string {
  const path = join(directory, `${files++}.yaml`);
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': change.current ?? 'x',
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:6443', ...change.cluster } }],
    users: [{ name: 'u', user: change.user ?? { tokenFile: 'token' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', ...change.context } }],
  };
  writeFileSync(path, stringify(document));
  return path;
}

test('a kubeconfig’s token file is read for each request, from beside it', async (t) => {
  const access = openAccess(kubeconfig(), {});
  writeFileSync(join(directory, 'token'), 'one\n');
  t.is(await access.token(), 'one');
  writeFileSync(join(directory, 'token'), 'two\n');
  t.is(await access.token(), 'two');
  t.is(access.server.href, 'https://127.0.0.1:6443/');
});

test('a client certificate comes with its key', (t) => {
  const data = (text: string): string => Buffer.from(text).toString('base64');
  const user = { 'client-certificate-data': data('CERT'), 'client-key-data': data('KEY') };
  const path = kubeconfig({ user, cluster: { 'certificate-authority-data': data('CA') } });
  t.like(openAccess(path, {}), { ca: 'CA', clientCertificate: { certPem: 'CERT', keyPem: 'KEY' } });
});

const REFUSED: [why: string, where: () => string][] = [
  ['no pod to be in', () => 'in-cluster'],
  ['no file', () => join(directory, 'nowhere')],
  ['a program that makes credentials', () => kubeconfig({ user: { exec: { command: 'sh' } } })],
  ['a password', () => kubeconfig({ user: { username: 'ann', password: 'hunter2' } })],
  ['plain HTTP', () => kubeconfig({ cluster: { server: 'http://127.0.0.1:8001' } })],
  ['verification turned off', () => kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } })],
  ['a context that there is not', () => kubeconfig({ current: 'y' })],
  ['a user that there is not', () => kubeconfig({ context: { user: 'v' } })],
];
for (const [why, where] of REFUSED)
  test(`refuses ${why}, and repeats no secret`, (t) => {
    const error = t.throws(() => openAccess(where(), {}));
    t.is(errorCodeOf(error), 'config_invalid');
    t.notRegex(error?.message ?? '', /hunter2/);
  });
