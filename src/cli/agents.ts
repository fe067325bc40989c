import { Command } from 'commander';
import type { AgentBody } from '../api/agents.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import {
  coloured,
  PROCESS_TERMINAL,
  printable,
  Table,
  type Terminal,
  writeJson,
  writeLine,
} from './output.ts';
import { relativeTime } from './times.ts';

interface BanFlags extends OperatorFlags {
  readonly reason: string;
}

/** `carnet agents list|ban|unban`. */
export function agentsCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('agents')
    .description("the other nodes' agents")
    .addCommand(listCommand(terminal))
    .addCommand(banCommand(terminal))
    .addCommand(unbanCommand(terminal));
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the agents: how each was attested, and whether it is connected')
    .addHelpText('after', '\nExample:\n  $ carnet agents list')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, [
        'NODE',
        'STATE',
        'METHOD',
        'SEEN',
        'EXPIRES',
        'HOLDS',
        'FAILING',
        'VERSION',
      ]);
      for await (const agents of clientOf(flags, terminal).pages<AgentBody>('/v1/agents')) {
        if (flags.json === true) for (const agent of agents) writeJson(terminal, agent);
        else table.write(agents.map((agent) => row(agent, terminal.clock())));
        if (flags.json !== true) for (const agent of agents) writeBan(terminal, agent);
      }
    });
}

function banCommand(terminal: Terminal): Command {
  return operatorCommand('ban')
    .argument('<NODE>', 'as carnet agents list shows it')
    .requiredOption('--reason <TEXT>', 'why; stands in the audit log, and is told to the agent')
    .description('refuse an agent, whoever holds its key, at once and until it is unbanned')
    .addHelpText(
      'after',
      '\nWhat its workloads hold stays valid until it ends; carnet revoke --node NODE ends that too.\n\nExample:\n  $ carnet agents ban web-1 --reason "its disk was stolen"',
    )
    .action(async (node: string, flags: BanFlags) => {
      const path = `/v1/agents/${encodeURIComponent(node)}/ban`;
      const agent = await clientOf(flags, terminal).post<AgentBody>(path, { reason: flags.reason });
      if (flags.json === true) writeJson(terminal, agent);
      else writeLine(terminal, printable(`banned the agent of ${agent.node}`));
    });
}

function unbanCommand(terminal: Terminal): Command {
  return operatorCommand('unban')
    .argument('<NODE>', 'as carnet agents list shows it')
    .description("lift an agent's ban; it must then be attested anew")
    .addHelpText('after', '\nExample:\n  $ carnet agents unban web-1')
    .action(async (node: string, flags: OperatorFlags) => {
      const path = `/v1/agents/${encodeURIComponent(node)}/unban`;
      const agent = await clientOf(flags, terminal).post<AgentBody>(path);
      if (flags.json === true) writeJson(terminal, agent);
      else writeLine(terminal, printable(`the agent of ${agent.node} may be attested anew`));
    });
}

function row(agent: AgentBody, now: number): string[] {
  return [
    agent.node,
    stateOf(agent, now),
    agent.method,
    agent.last_seen_at === null ? '-' : relativeTime(agent.last_seen_at, now),
    relativeTime(agent.expires_at, now),
    String(agent.health?.certificates ?? '-'),
    String(agent.health?.failing ?? '-'),
    agent.version ?? '-',
  ];
}

function writeBan(terminal: Terminal, { node, ban }: AgentBody): void {
  if (ban === null) return;
  writeLine(
    terminal,
    coloured(terminal, 'red', printable(`  ${node} was banned by ${ban.by}: ${ban.reason}`)),
  );
}

function stateOf({ ban, serial, expires_at, connected }: AgentBody, now: number): string {
  if (ban !== null) return 'banned';
  if (serial === null || Date.parse(expires_at) <= now) return 'must be attested';
  return connected ? 'connected' : 'away';
}
