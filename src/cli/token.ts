import { open, rm } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { ROLES } from '../api/role.ts';
import type { CreatedTokenBody, TokenBody } from '../api/tokens.ts';
import { CarnetError } from '../errors.ts';
import { clientOf, collect, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, PROCESS_TERMINAL, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

interface CreateFlags extends OperatorFlags {
  readonly name: string;
  readonly role: string;
  readonly scope?: readonly string[];
  readonly ttl?: string;
  readonly output?: string;
}

/** `carnet token create|list|revoke`. */
export function tokenCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('token')
    .description('bearer tokens for operators, auditors and programs')
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(revokeCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  return operatorCommand('create')
    .description('create a token, which is shown this once')
    .requiredOption('--name <NAME>', 'who or what will hold it: stands in the audit log')
    .addOption(
      new Option(
        '--role <ROLE>',
        'auditor reads all, operator runs the fleet, admin may all, break-glass too for an hour at most',
      )
        .choices(ROLES)
        .makeOptionMandatory(),
    )
    .option('--scope <SCOPE>', 'only this of what the role may, such as entries:write; repeatable', collect)
    .option('--ttl <DURATION>', 'how long it lasts (default: until it is revoked)')
    .option('--output <FILE>', 'write it to this new file, mode 0600, instead of stdout')
    .addHelpText(
      'after',
      '\nExample: a token for an auditor, for a month\n  $ carnet token create --name eve --role auditor --ttl 30d --output eve.token',
    )
    .action(async (flags: CreateFlags) => {
      const client = clientOf(flags, terminal);
      const { name, role, ttl, scope: scopes } = flags;
      const body = { name, role, ...(ttl === undefined ? {} : { ttl }), ...(scopes && { scopes }) };
      const create = () => client.post<CreatedTokenBody>('/v1/tokens', body);
      if (flags.output === undefined) writeCreated(terminal, await create(), flags.json === true);
      else await createInto(flags.output, create, terminal, flags.json === true);
    });
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the tokens, without their secrets')
    .addHelpText('after', '\nExample:\n  $ carnet token list')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, [
        'ID',
        'NAME',
        'ROLE',
        'STATE',
        'CREATED',
        'EXPIRES',
        'LAST USED',
        'SCOPES',
      ]);
      for await (const tokens of clientOf(flags, terminal).pages<TokenBody>('/v1/tokens'))
        if (flags.json === true) for (const token of tokens) writeJson(terminal, token);
        else table.write(tokens.map((token) => tokenRow(token, terminal.clock())));
    });
}

function revokeCommand(terminal: Terminal): Command {
  return operatorCommand('revoke')
    .argument('<ID>', 'as carnet token list shows it')
    .description('revoke a token, for good')
    .addHelpText('after', '\nExample:\n  $ carnet token revoke 3')
    .action(async (id: string, flags: OperatorFlags) => {
      const token = await clientOf(flags, terminal).delete<TokenBody>(`/v1/tokens/${encodeURIComponent(id)}`);
      if (flags.json === true) writeJson(terminal, token);
      else writeLine(terminal, `revoked ${printable(token.name)} (${printable(token.id)})`);
    });
}

/** The token alone on stdout, so that it can be piped. */
function writeCreated(terminal: Terminal, created: CreatedTokenBody, json: boolean): void {
  if (json) writeJson(terminal, created);
  else {
    note(terminal, `${describe(created)}; keep it, it is not shown again:`);
    writeLine(terminal, created.token);
  }
}

/** Takes the file before the token is made: a token that can't be written would be lost, and live. */
async function createInto(
  file: string,
  create: () => Promise<CreatedTokenBody>,
  terminal: Terminal,
  json: boolean,
): Promise<void> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === 'EEXIST' ? 'is there already: name a new file' : `can't be written: ${error.message}`;
    throw new CarnetError('conflict', `--output ${file} ${why}`, { cause: error });
  });
  try {
    const { token, ...created } = await create();
    await handle.writeFile(`${token}\n`);
    if (json) writeJson(terminal, { ...created, file });
    else writeLine(terminal, `${describe(created)}; it is in ${file}`);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

function describe({ id, name, role, expires_at }: TokenBody): string {
  const end = expires_at === null ? 'until it is revoked' : `until ${shortTime(expires_at)}`;
  return printable(`created the ${role} token ${name} (${id}), ${end}`);
}

function tokenRow(token: TokenBody, now: number): string[] {
  return [
    token.id,
    token.name,
    token.role,
    stateOf(token, now),
    shortTime(token.created_at),
    token.expires_at === null ? '-' : shortTime(token.expires_at),
    token.last_used_at === null ? 'never' : shortTime(token.last_used_at),
    token.scopes === null ? '-' : token.scopes.join(','),
  ];
}

function stateOf({ revoked_at, expires_at }: TokenBody, now: number): string {
  if (revoked_at !== null) return 'revoked';
  return expires_at !== null && Date.parse(expires_at) <= now ? 'expired' : 'usable';
}
