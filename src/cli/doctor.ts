import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { AuthorityBody } from '../api/authorities.ts';
import type { FederationBody } from '../api/federation.ts';
import type { ReadinessBody } from '../api/health.ts';
import type { LogBody } from '../api/log.ts';
import type { ProxyBody } from '../api/proxies.ts';
import type { SinkBody } from '../api/sinks.ts';
import type { UnrecordedListBody } from '../api/unrecorded.ts';
import { CarnetError } from '../errors.ts';
import type { Client } from './client.ts';
import {
  diagnoseAuthorities,
  diagnoseClock,
  diagnoseFederations,
  diagnoseLog,
  diagnoseProxies,
  diagnoseReadiness,
  diagnoseRecords,
  diagnoseSinks,
  diagnoseTokenFile,
  diagnoseTransport,
  type Finding,
  finding,
} from './diagnose.ts';
import { diagnoseWitnesses } from './diagnose-witnesses.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { coloured, PROCESS_TERMINAL, printable, type Terminal, writeJson, writeLine } from './output.ts';

const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

/** `carnet doctor`: exits 1 when anything failed. */
export function doctorCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return operatorCommand('doctor')
    .description('look at the server, its database, authorities and proxies, and say what to do')
    .addHelpText('after', '\nExample:\n  $ carnet doctor --json | jq -c \'select(.level != "ok")\'')
    .action(async (flags: OperatorFlags) => {
      let all = 0;
      let failed = 0;
      for await (const one of examine(clientOf(flags, terminal), terminal)) {
        all++;
        if (one.level === 'fail') failed++;
        if (flags.json === true) writeJson(terminal, one);
        else writeFinding(terminal, one);
      }
      if (failed > 0) throw new CarnetError('unavailable', `${failed} of ${all} checks failed`);
    });
}

/** Each as soon as it is found. */
async function* examine(client: Client, terminal: Terminal): AsyncGenerator<Finding> {
  const server = await attempt('server', async () => {
    const { headers } = await client.probe('/healthz', [200]);
    return [
      finding('server', 'ok', `${client.server} answers`, null),
      ...diagnoseTransport(client.server),
      diagnoseClock(headers.get('date'), terminal.clock()),
    ];
  });
  yield* server;
  // Without a server there is nothing more to ask, and one cause need not be told four times.
  const answers = !server.some(({ check, level }) => check === 'server' && level === 'fail');
  if (answers)
    yield* await attempt('ready', async () =>
      diagnoseReadiness((await client.probe<ReadinessBody>('/readyz', [200, 503])).json),
    );
  yield* await attempt('token file', async () => {
    const { mode } = await stat(client.tokenFile).catch(() => {
      throw new CarnetError('not_found', `${client.tokenFile} is not there: give --data-dir or --token-file`);
    });
    return [diagnoseTokenFile(client.tokenFile, mode)];
  });
  if (answers) yield* examineState(client, terminal);
}

/** What takes a token to be told. */
async function* examineState(client: Client, terminal: Terminal): AsyncGenerator<Finding> {
  yield* await attempt('authorities', async () => {
    const { items } = await client.get<{ items: AuthorityBody[] }>('/v1/authorities');
    return diagnoseAuthorities(items, terminal.clock());
  });
  yield* await attempt('proxies', async () => {
    const proxies: ProxyBody[] = [];
    for await (const page of client.pages<ProxyBody>('/v1/proxies')) proxies.push(...page);
    return diagnoseProxies(proxies, terminal.clock());
  });
  yield* await attempt('federation', async () => {
    const federations: FederationBody[] = [];
    for await (const page of client.pages<FederationBody>('/v1/federation')) federations.push(...page);
    return diagnoseFederations(federations);
  });
  yield* await attempt('log', async () => {
    const state = await client.get<LogBody>('/v1/log');
    return [diagnoseLog(state, terminal.clock()), ...diagnoseWitnesses(state, terminal.clock())];
  });
  yield* await attempt('forward', async () => {
    const sinks: SinkBody[] = [];
    for await (const page of client.pages<SinkBody>('/v1/sinks')) sinks.push(...page);
    return diagnoseSinks(sinks);
  });
  yield* await attempt('records', async () =>
    diagnoseRecords(await client.get<UnrecordedListBody>('/v1/proxies/unrecorded')),
  );
}

/** A check that can't be made has failed, by the reason why. */
async function attempt(check: string, examineIt: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await examineIt();
  } catch (error) {
    if (!(error instanceof CarnetError)) throw error;
    return [finding(check, 'fail', error.message, null)];
  }
}

function writeFinding(terminal: Terminal, { check, level, detail, advice }: Finding): void {
  const word = coloured(terminal, COLOURS[level], level.padEnd(4));
  writeLine(terminal, `${word}  ${check.padEnd(11)}  ${printable(detail)}`);
  if (advice !== null) writeLine(terminal, `${' '.repeat(19)}-> ${printable(advice)}`);
}
