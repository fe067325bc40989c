import { Command } from 'commander';
import type { CreatedJoinTokenBody, JoinTokenBody } from '../api/join-tokens.ts';
import { clientOf, collect, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, PROCESS_TERMINAL, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

interface CreateFlags extends OperatorFlags {
  readonly node?: string;
  readonly selector?: readonly string[];
  readonly ttl?: string;
}

/** `carnet join-token create|list|delete`. */
export function joinTokenCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('join-token')
    .description("secrets that let another node's agent join, each once")
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(deleteCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  return operatorCommand('create')
    .description('create a join token, which is shown this once')
    .option('--node <NAME>', 'the name of the node (default: one made from the token)')
    .option(
      '--selector <SELECTOR>',
      'node:key:value that entries can ask of the node; may be repeated',
      collect,
    )
    .option('--ttl <DURATION>', 'how long it can be used (default: 10m)')
    .addHelpText(
      'after',
      '\nExample: the token alone is on stdout\n  $ carnet join-token create --node web-1 --selector node:rack:7 > web-1.token',
    )
    .action(async (flags: CreateFlags) => {
      const { node, selector, ttl } = flags;
      const body = {
        selectors: selector ?? [],
        ...(node === undefined ? {} : { node }),
        ...(ttl === undefined ? {} : { ttl }),
      };
      const created = await clientOf(flags, terminal).post<CreatedJoinTokenBody>('/v1/join-tokens', body);
      if (flags.json === true) return writeJson(terminal, created);
      const name = created.node ?? `node-${created.id}`;
      note(
        terminal,
        `${printable(name)} can join once, until ${shortTime(created.expires_at)}; keep it, it is not shown again:`,
      );
      writeLine(terminal, created.token);
    });
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the join tokens, without their secrets')
    .addHelpText('after', '\nExample:\n  $ carnet join-token list')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, ['ID', 'NODE', 'STATE', 'CREATED', 'EXPIRES', 'BY']);
      for await (const tokens of clientOf(flags, terminal).pages<JoinTokenBody>('/v1/join-tokens'))
        if (flags.json === true) for (const token of tokens) writeJson(terminal, token);
        else table.write(tokens.map((token) => row(token, terminal.clock())));
    });
}

function deleteCommand(terminal: Terminal): Command {
  return operatorCommand('delete')
    .argument('<ID>', 'as carnet join-token list shows it')
    .description('revoke a join token that was not used yet')
    .addHelpText('after', '\nExample:\n  $ carnet join-token delete 3f1c0a5d9e8b4726')
    .action(async (id: string, flags: OperatorFlags) => {
      const path = `/v1/join-tokens/${encodeURIComponent(id)}`;
      const token = await clientOf(flags, terminal).delete<JoinTokenBody>(path);
      if (flags.json === true) return writeJson(terminal, token);
      const what =
        token.used_by === null ? 'revoked' : `was used already by ${token.used_by}: see carnet agents ban;`;
      writeLine(terminal, printable(`${what} ${token.id}`));
    });
}

function row(token: JoinTokenBody, now: number): string[] {
  const node = token.used_by ?? token.node ?? '-';
  const times = [shortTime(token.created_at), shortTime(token.expires_at)];
  return [token.id, node, stateOf(token, now), ...times, token.created_by];
}

function stateOf({ used_at, revoked_at, expires_at }: JoinTokenBody, now: number): string {
  if (used_at !== null) return 'used';
  if (revoked_at !== null) return 'revoked';
  return Date.parse(expires_at) <= now ? 'expired' : 'usable';
}
