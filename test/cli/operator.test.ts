import test from 'ava';
import type { Command } from 'commander';
import { auditCommand } from '../../src/cli/audit.ts';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { entryCommand } from '../../src/cli/entry.ts';
import { proxiesCommand } from '../../src/cli/proxies.ts';
import { rootCommand } from '../../src/cli/root.ts';
import { tokenCommand } from '../../src/cli/token.ts';
import { runCommand, startOperator } from './harness.ts';

for (const [title, make, args, code, message] of [
  ['a missing option', entryCommand, ['create', '--selector', 'a:b:c'], 2, /required option '--spiffe-id/],
  ['an unknown option', proxiesCommand, ['--jsn'], 2, /unknown option '--jsn'/],
  [
    'an unknown role',
    tokenCommand,
    ['create', '--name', 'x', '--role', 'boss'],
    2,
    /Allowed choices are admin, operator, auditor, break-glass/,
  ],
  ['--all with --limit', auditCommand, ['search', '--all', '--limit', '5'], 2, /--all goes with neither/],
  [
    'a time without a zone',
    auditCommand,
    ['search', '--from', '2026-03-01T12:00:00'],
    2,
    /--from .*with its zone/,
  ],
  ['a server that is no URL', proxiesCommand, ['--server', 'localhost'], 2, /--server localhost: give a URL/],
  [
    'a limit that the server refuses',
    auditCommand,
    ['search', '--limit', '0'],
    1,
    /limit: must be a whole number/,
  ],
  [
    'a token file that is not there',
    proxiesCommand,
    ['--token-file', '/nowhere'],
    1,
    /token file \/nowhere is not there/,
  ],
] as const)
  test(`${title} exits ${code} with a message, and nothing on stdout`, async (t) => {
    const { env } = await startOperator(t);
    const outcome = await runCommand(make, args, { env });
    t.is(outcome.code, code);
    t.is(outcome.stdout, '');
    t.regex(outcome.stderr, message);
  });

test('every command says what it does and shows an example', (t) => {
  for (const command of [
    entryCommand(),
    proxiesCommand(),
    rootCommand(),
    auditCommand(),
    tokenCommand(),
    doctorCommand(),
  ])
    for (const leaf of leavesOf(command)) {
      let help = '';
      leaf.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      leaf.outputHelp();
      t.regex(help, /Example/, leaf.name());
      t.regex(help, /--json/, leaf.name());
      t.not(leaf.description(), '');
    }
});

/** The commands that do something: those with others under them only list them. */
function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}
