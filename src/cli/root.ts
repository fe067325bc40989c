import { Command } from 'commander';
import type { AuthorityBody } from '../api/authorities.ts';
import type { RotationBody } from '../api/rotations.ts';
import { CarnetError } from '../errors.ts';
import type { RotationRequest } from '../rotation/rotation.ts';
import type { Client } from './client.ts';
import { confirm } from './confirm.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, PROCESS_TERMINAL, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { followRotation, rotationLines } from './rotation-view.ts';
import { relativeTime, shortTime } from './times.ts';
import { csrCommand, importCommand } from './upstream.ts';

interface Flags extends OperatorFlags {
  readonly reason?: string;
  readonly hold?: string;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly wait?: boolean;
  readonly issuing?: boolean;
  readonly crossSign?: boolean;
}

interface Rotations {
  readonly items: readonly RotationBody[];
}

const CROSS_SIGN = 'the old root certifies the new one too, for verifiers out of our reach';

/** `carnet root`. */
export function rootCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('root')
    .description('the authorities: roots and issuing CAs, and their rotation')
    .addCommand(statusCommand(terminal))
    .addCommand(rotateCommand(terminal))
    .addCommand(startCommand(terminal, 'prepare'))
    .addCommand(
      stepCommand(terminal, 'activate', 'let the new authority sign, once everyone has acknowledged it'),
    )
    .addCommand(stepCommand(terminal, 'retire', 'drop the old root, once nothing presented chains to it'))
    .addCommand(stepCommand(terminal, 'abort', 'go back to the old authority, while that breaks nobody'))
    .addCommand(startCommand(terminal, 'taint'))
    .addCommand(csrCommand(terminal))
    .addCommand(importCommand(terminal));
}

function statusCommand(terminal: Terminal): Command {
  return operatorCommand('status')
    .description('show every root and issuing CA with its state, and the rotation under way')
    .addHelpText('after', '\nExample:\n  $ carnet root status')
    .action(async (flags: Flags) => {
      const client = clientOf(flags, terminal);
      const { items } = await client.get<{ items: AuthorityBody[] }>('/v1/authorities');
      const { items: rotations } = await client.get<Rotations>('/v1/rotations');
      if (flags.json === true) return writeJson(terminal, { authorities: items, rotations });
      new Table(terminal, ['ID', 'STATE', 'KEY', 'SIGNED BY', 'EXPIRES', '']).write(
        items.map((authority) => authorityRow(authority, terminal.clock())),
      );
      for (const rotation of rotations)
        writeLine(terminal, `\n${rotationLines(rotation, terminal.clock()).join('\n')}`);
    });
}

function rotateCommand(terminal: Terminal): Command {
  return reasoned(operatorCommand('rotate'))
    .description(
      'replace the root of the live fleet, from new key to old key destroyed; the same command resumes it',
    )
    .option('--issuing', 'replace the issuing CA only')
    .option('--cross-sign', CROSS_SIGN)
    .option('--hold <DURATION>', 'wait this long for consumers that cannot acknowledge')
    .option('--no-wait', 'begin, and do not wait for the end')
    .addHelpText(
      'after',
      `
It waits until every proxy has acknowledged the new root before anything is signed under it, and until nothing that
is presented chains to the old one before that is dropped. Whoever is missing is named. Ctrl-C leaves it going.

Example:
  $ carnet root rotate --reason 'yearly rotation'`,
    )
    .action(async (flags: Flags) => {
      const client = clientOf(flags, terminal);
      const body = { ...startBody(flags), hands_free: true };
      const started = await client.post<Rotations>('/v1/rotations', body);
      if (flags.wait === false) return showRotations(terminal, started, flags);
      await followRotation(client, terminal, body.kind, flags.json === true);
    });
}

function startCommand(terminal: Terminal, verb: 'prepare' | 'taint'): Command {
  const taint = verb === 'taint';
  const command = reasoned(operatorCommand(verb))
    .description(
      taint
        ? 'the key of the root, or of the issuing CA, is compromised: replace it as fast as acknowledgements come'
        : 'make a new root and publish it; then each step waits for its command',
    )
    .option('--hold <DURATION>', 'wait this long for consumers that cannot acknowledge');
  command.option('--issuing', 'the issuing CA only');
  if (taint) command.option('--yes', 'do not ask').option('--no-wait', 'begin, and do not wait for the end');
  else command.option('--cross-sign', CROSS_SIGN);
  command.addHelpText(
    'after',
    `\nExample:\n  $ carnet root ${verb} --reason '${taint ? 'key found in a backup' : 'yearly rotation'}'`,
  );
  return command.action(async (flags: Flags) => {
    const client = clientOf(flags, terminal);
    if (taint)
      await confirm(
        terminal,
        flags.yes,
        flags.issuing === true
          ? 'The issuing CA counts as compromised from now on. What it signed stays accepted until it is revoked.'
          : 'The root counts as compromised from now on. It leaves every bundle as soon as it can.',
      );
    const body = { ...startBody(flags), hands_free: taint, taint };
    const started = await client.post<Rotations>('/v1/rotations', body);
    if (taint && flags.wait !== false)
      return followRotation(client, terminal, body.kind, flags.json === true);
    showRotations(terminal, started, flags);
  });
}

function stepCommand(terminal: Terminal, request: RotationRequest, description: string): Command {
  const command = reasoned(operatorCommand(request))
    .description(description)
    .option('--issuing', 'of the issuing CA only');
  if (request !== 'abort')
    command
      .option('--force', 'whatever its gate says: says what will break, and asks')
      .option('--yes', 'do not ask');
  command.addHelpText('after', `\nExample:\n  $ carnet root ${request}`);
  return command.action(async (flags: Flags) => {
    const client = clientOf(flags, terminal);
    const kind = flags.issuing === true ? 'issuing' : 'root';
    if (flags.force === true) await confirm(terminal, flags.yes, await whatBreaks(client, kind, request));
    const body = {
      request,
      force: flags.force ?? false,
      ...(flags.reason === undefined ? {} : { reason: flags.reason }),
    };
    showRotations(terminal, await client.post<Rotations>(`/v1/rotations/${kind}`, body), flags);
  });
}

/** In words, before it is forced. */
async function whatBreaks(client: Client, kind: string, request: RotationRequest): Promise<string> {
  const { items } = await client.get<Rotations>('/v1/rotations');
  const rotation = items.find((one) => one.kind === kind);
  if (rotation === undefined) throw new CarnetError('not_found', `no ${kind} rotation is under way`);
  const [who, count, what] =
    request === 'activate'
      ? [
          rotation.laggards,
          rotation.laggard_count,
          'do not trust the new root yet, and will refuse everyone who presents a new certificate',
        ]
      : [
          rotation.presenters,
          rotation.presenter_count + rotation.outstanding,
          'may still present the old chain, and will be refused',
        ];
  const named = who.map(({ names, instance, why }) => `  ${names.join('/') || instance}: ${why}`);
  return `${count} ${what}:\n${named.join('\n')}\n`;
}

function reasoned(command: Command): Command {
  return command.option('--reason <TEXT>', 'why; goes on record');
}

function startBody({ issuing, crossSign, hold, reason }: Flags) {
  return {
    kind: issuing === true ? ('issuing' as const) : ('root' as const),
    cross_sign: crossSign ?? false,
    ...(hold === undefined ? {} : { hold }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function showRotations(terminal: Terminal, { items }: Rotations, { json }: Flags): void {
  if (json === true) {
    writeJson(terminal, { rotations: items });
    return;
  }
  if (items.length === 0) note(terminal, 'no rotation is under way');
  for (const rotation of items) writeLine(terminal, rotationLines(rotation, terminal.clock()).join('\n'));
}

function authorityRow(authority: AuthorityBody, now: number): string[] {
  return [
    authority.id,
    authority.state,
    authority.key_algorithm,
    authority.parent === authority.id ? 'itself' : authority.parent,
    shortTime(authority.not_after),
    relativeTime(authority.not_after, now),
  ];
}
