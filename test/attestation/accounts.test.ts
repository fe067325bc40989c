import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createAccounts } from '../../src/attestation/accounts.ts';

const dir = mkdtempSync(join(tmpdir(), 'carnet-accounts-'));
const passwd = join(dir, 'passwd');
const group = join(dir, 'group');
test.after.always(() => rmSync(dir, { recursive: true }));

test.serial(
  'names users and groups, the first line of a number first, and passes over lines that are none',
  (t) => {
    writeFileSync(
      passwd,
      'root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n#comment\n\n:x:7:7:::\nsvc$:x:1001:1001:::\nbad:x:\n',
    );
    writeFileSync(group, 'root:x:0:\nwheel:x:10:root,svc\n');
    const accounts = createAccounts(passwd, group);
    t.is(accounts.userName(0), 'root');
    t.is(accounts.userName(1001), 'svc$');
    t.is(accounts.userName(7), null);
    t.is(accounts.userName(4242), null);
    t.is(accounts.groupName(10), 'wheel');
    t.is(accounts.groupName(11), null);
  },
);

test.serial('sees a file that was replaced, and one that is gone', (t) => {
  const accounts = createAccounts(passwd, group);
  writeFileSync(passwd, 'a:x:1:1:::\n');
  t.is(accounts.userName(1), 'a');
  writeFileSync(`${passwd}.new`, 'b:x:1:1:::\n');
  renameSync(`${passwd}.new`, passwd);
  t.is(accounts.userName(1), 'b');
  rmSync(passwd);
  t.is(accounts.userName(1), null);
});
