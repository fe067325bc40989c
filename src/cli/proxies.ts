import type { Command } from 'commander';
import type { ProxyBody, ProxyResourceBody } from '../api/proxies.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import {
  coloured,
  note,
  PROCESS_TERMINAL,
  printable,
  Table,
  type Terminal,
  writeJson,
  writeLine,
} from './output.ts';
import { relativeTime } from './times.ts';

/** `carnet proxies`. */
export function proxiesCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return operatorCommand('proxies')
    .description(
      'show each connected proxy: what it holds, acknowledged, is seen to use, refused and waits for',
    )
    .addHelpText(
      'after',
      "\nExample: which proxies have refused something?\n  $ carnet proxies --json | jq -c 'select(any(.resources[]; .last_error)) | .node_id'",
    )
    .action(async (flags: OperatorFlags) => {
      let count = 0;
      for await (const proxies of clientOf(flags, terminal).pages<ProxyBody>('/v1/proxies'))
        for (const proxy of proxies) {
          if (flags.json === true) writeJson(terminal, proxy);
          else writeProxy(terminal, proxy, count === 0);
          count++;
        }
      if (count === 0 && flags.json !== true) note(terminal, 'no proxy is connected');
    });
}

function writeProxy(terminal: Terminal, proxy: ProxyBody, first: boolean): void {
  const now = terminal.clock();
  const identities = proxy.identities.length === 0 ? ['(no identity)'] : proxy.identities;
  if (!first) writeLine(terminal, '');
  writeLine(terminal, coloured(terminal, 'bold', printable(identities.join(' '))));
  const facts = [
    `node ${proxy.node_id ?? '-'}`,
    proxy.protocol,
    proxy.instance,
    `connected ${relativeTime(proxy.connected_at, now)}`,
  ];
  writeLine(terminal, `  ${printable(facts.join(', '))}`);
  if (proxy.resources.length > 0)
    new Table(terminal, ['  RESOURCE', 'SENT', 'ACKNOWLEDGED', 'OBSERVED', 'EXPIRES']).write(
      proxy.resources.map((resource) => resourceRow(resource, now)),
    );
  for (const { name, last_error } of proxy.resources)
    if (last_error !== null) {
      const text = `  refused ${name} version ${last_error.version} ${relativeTime(last_error.at, now)}: ${last_error.message}`;
      writeLine(terminal, coloured(terminal, 'red', printable(text)));
    }
  if (proxy.waiting.length > 0)
    writeLine(terminal, coloured(terminal, 'yellow', printable(`  waits for ${proxy.waiting.join(', ')}`)));
}

function resourceRow(resource: ProxyResourceBody, now: number): string[] {
  return [
    `  ${resource.name}`,
    resource.version_sent ?? '-',
    resource.version_acknowledged ?? '-',
    observedText(resource),
    resource.expires_at === null ? '-' : relativeTime(resource.expires_at, now),
  ];
}

/** A version is named only where it is another than the one that stands beside it. */
function observedText({ version_observed, version_acknowledged }: ProxyResourceBody): string {
  if (version_observed === null) return '-';
  return version_observed === version_acknowledged ? 'yes' : version_observed;
}
