import { Command } from 'commander';
import type { OpenSessionBody } from '../api/sessions.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { PROCESS_TERMINAL, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

/** `carnet session list|end`. */
export function sessionCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('session')
    .description('who is signed in by a browser')
    .addCommand(listCommand(terminal))
    .addCommand(endCommand(terminal));
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list who is signed in')
    .addHelpText('after', '\nExample:\n  $ carnet session list')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, ['ID', 'ACTOR', 'ROLE', 'BY', 'SINCE', 'LAST USED', 'ENDS']);
      for await (const sessions of clientOf(flags, terminal).pages<OpenSessionBody>('/v1/sessions'))
        if (flags.json === true) for (const session of sessions) writeJson(terminal, session);
        else table.write(sessions.map(sessionRow));
    });
}

function endCommand(terminal: Terminal): Command {
  return operatorCommand('end')
    .argument('<ID>', 'as carnet session list shows it')
    .description("end somebody's session")
    .addHelpText('after', '\nExample:\n  $ carnet session end 7d0fa2f5-3c79-4a0c-9f6c-8e5a5f6d1c0b')
    .action(async (id: string, flags: OperatorFlags) => {
      const ended = await clientOf(flags, terminal).delete(`/v1/sessions/${encodeURIComponent(id)}`);
      if (flags.json === true) writeJson(terminal, ended);
      else writeLine(terminal, `ended the session ${printable(id)}`);
    });
}

function sessionRow(session: OpenSessionBody): string[] {
  return [
    session.id,
    session.actor,
    session.role,
    session.method,
    shortTime(session.created_at),
    shortTime(session.last_used_at),
    shortTime(session.expires_at),
  ];
}
