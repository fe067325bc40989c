import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { Command } from 'commander';
import type { JwtKeyBody } from '../api/jwt-keys.ts';
import type { RotationBody } from '../api/rotations.ts';
import { advisedOf, agentSocketOf, agentSocketOption } from './agent-socket.ts';
import { confirm } from './confirm.ts';
import { clientOf, collect, type OperatorFlags, operatorCommand } from './operator.ts';
import { PROCESS_TERMINAL, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { followRotation, rotationLines } from './rotation-view.ts';
import { relativeTime, shortTime } from './times.ts';

interface RotateFlags extends OperatorFlags {
  readonly reason?: string;
  readonly hold?: string;
  readonly yes?: boolean;
  readonly wait?: boolean;
}

interface WorkloadFlags {
  readonly agentSocket?: string;
  readonly audience: readonly string[];
  readonly identity?: string;
  readonly json?: boolean;
}

const TIMEOUT_MS = 10_000;

/** `carnet jwt`. */
export function jwtCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('jwt')
    .description('JWT-SVIDs of this process, and the keys that sign them')
    .addCommand(fetchCommand(terminal))
    .addCommand(validateCommand(terminal))
    .addCommand(statusCommand(terminal))
    .addCommand(rotateCommand(terminal, 'rotate'))
    .addCommand(rotateCommand(terminal, 'taint'));
}

function fetchCommand(terminal: Terminal): Command {
  return new Command('fetch')
    .description("fetch a JWT-SVID of this process from the agent's socket, and print it")
    .addOption(agentSocketOption())
    .requiredOption('--audience <NAME>', 'whom it is for; repeatable', collect)
    .option('--identity <SPIFFE-ID>', 'which of several identities (default: the first; with --json all)')
    .option('--json', 'one JSON document a line for each identity')
    .addHelpText(
      'after',
      '\nWhoever has the token is its subject, to its audience, for minutes: keep it out of logs.\n\nExample:\n  $ carnet jwt fetch --audience reports',
    )
    .action(async (flags: WorkloadFlags) => {
      const svids = await withClient(flags, (client) =>
        client.fetchJwt(flags.audience, flags.identity ?? '', TIMEOUT_MS),
      );
      if (flags.json === true)
        for (const { spiffeId, svid, hint } of svids)
          writeJson(terminal, { spiffe_id: spiffeId, hint, svid });
      else writeLine(terminal, svids[0]?.svid ?? '');
    });
}

function validateCommand(terminal: Terminal): Command {
  return new Command('validate')
    .description('read a JWT-SVID from stdin, and say whose it is')
    .addOption(agentSocketOption())
    .requiredOption('--audience <NAME>', 'the name by which we are meant')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExample:\n  $ carnet jwt fetch --audience reports | carnet jwt validate --audience reports',
    )
    .action(async (flags: Omit<WorkloadFlags, 'audience'> & { readonly audience: string }) => {
      const token = (await text(terminal.stdin)).trim();
      const { spiffeId, claims } = await withClient(flags, (client) =>
        client.validateJwt(flags.audience, token, TIMEOUT_MS),
      );
      if (flags.json === true) return writeJson(terminal, { spiffe_id: spiffeId, claims });
      writeLine(terminal, spiffeId);
    });
}

function statusCommand(terminal: Terminal): Command {
  return operatorCommand('status')
    .description('show the keys that sign JWT-SVIDs, and their rotation under way')
    .addHelpText('after', '\nExample:\n  $ carnet jwt status')
    .action(async (flags: OperatorFlags) => {
      const client = clientOf(flags, terminal);
      const { items: keys } = await client.get<{ items: JwtKeyBody[] }>('/v1/jwt-keys');
      const rotations = await client.get<{ items: RotationBody[] }>('/v1/rotations');
      const rotation = rotations.items.find(({ kind }) => kind === 'jwt') ?? null;
      if (flags.json === true) return writeJson(terminal, { keys, rotation });
      new Table(terminal, ['ID', 'STATE', 'KEY', 'EXPIRES', '']).write(
        keys.map((key) => keyRow(key, terminal.clock())),
      );
      if (rotation !== null) writeLine(terminal, `\n${rotationLines(rotation, terminal.clock()).join('\n')}`);
    });
}

function rotateCommand(terminal: Terminal, verb: 'rotate' | 'taint'): Command {
  const taint = verb === 'taint';
  const command = operatorCommand(verb)
    .description(
      taint
        ? 'the key is compromised: replace it now, and let all tokens under it be refused'
        : 'replace the key: the new one is published for a while, then signs; the old one stays for its tokens',
    )
    .option('--reason <TEXT>', 'why; goes on record')
    .option('--no-wait', 'begin, and do not wait for the end');
  if (taint) command.option('--yes', 'do not ask');
  else
    command.option('--hold <DURATION>', "how long it is published before it signs (default: the server's)");
  command.addHelpText('after', `\nExample:\n  $ carnet jwt ${verb} --reason 'found in a log'`);
  return command.action(async (flags: RotateFlags) => {
    const client = clientOf(flags, terminal);
    if (taint)
      await confirm(terminal, flags.yes, 'Every JWT-SVID that was issued is refused within moments.');
    const started = await client.post<{ items: RotationBody[] }>('/v1/rotations', {
      kind: 'jwt',
      taint,
      ...(flags.hold === undefined ? {} : { hold: flags.hold }),
      ...(flags.reason === undefined ? {} : { reason: flags.reason }),
    });
    if (flags.wait !== false) return followRotation(client, terminal, 'jwt', flags.json === true);
    const rotation = started.items.find(({ kind }) => kind === 'jwt');
    if (rotation === undefined) return;
    if (flags.json === true) writeJson(terminal, rotation);
    else writeLine(terminal, rotationLines(rotation, terminal.clock()).join('\n'));
  });
}

function keyRow(key: JwtKeyBody, now: number): string[] {
  return [key.id, key.state, key.key_algorithm, shortTime(key.not_after), relativeTime(key.not_after, now)];
}

async function withClient<T>(
  flags: { readonly agentSocket?: string },
  work: (client: import('../workload-api/client.ts').WorkloadClient) => Promise<T>,
): Promise<T> {
  const { WorkloadClient } = await import('../workload-api/client.ts');
  const socket = resolve(agentSocketOf(flags));
  const client = new WorkloadClient(socket);
  try {
    return await work(client);
  } catch (error) {
    throw advisedOf(error, socket);
  } finally {
    client.close();
  }
}
