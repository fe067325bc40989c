import type { Command } from 'commander';
import { AGENT_SETTINGS } from '../agent-config.ts';
import { createUnixAttestor } from '../attestation/attest.ts';
import type { Attestation } from '../attestation/attestation.ts';
import { sourceOf } from '../attestation/explain-selector.ts';
import { bootMs } from '../attestation/peer-credentials.ts';
import { readProcess } from '../attestation/process.ts';
import { ATTESTATION_SETTINGS, type AttestationConfig, checkAttestation } from '../attestation-settings.ts';
import { SERVER_SETTINGS } from '../config.ts';
import { CarnetError } from '../errors.ts';
import type { Decision } from '../policy/authorize.ts';
import { addSettings, flagsOf, readSettings } from '../settings.ts';
import { type Compared, compareEntries, reasonOf } from './compare-entries.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import {
  coloured,
  note,
  PROCESS_TERMINAL,
  printable,
  Table,
  type Terminal,
  writeFields,
  writeJson,
  writeLine,
} from './output.ts';
import { openPlatforms } from './workload-platforms.ts';

interface Flags extends OperatorFlags {
  readonly pid: string;
  readonly node?: string;
}

const EXAMPLE = `
Give it the settings that the agent has, as flags or in the environment: --pods-from, --docker-socket.
Needs root for processes of other users.

Examples:
  $ sudo carnet attest --pid "$(pgrep -o envoy)"
  $ sudo carnet attest --pid 4242 --pods-from kubelet --kubernetes-node "$NODE_NAME" --json`;

/** `carnet attest`: what the agent of this machine would find out about a process, and what that is worth. */
export function attestCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  const command = operatorCommand('attest')
    .description(
      'show the selectors that a process of this machine has, where each comes from, and which entries match',
    )
    .requiredOption('--pid <PID>', 'the process, as this machine numbers it')
    .option('--node <NAME>', "compare as the agent of that node would, with the node's own selectors too");
  addSettings(command, ATTESTATION_SETTINGS);
  return command.addHelpText('after', EXAMPLE).action(async (flags: Flags) => {
    // The --config file is a server's or an agent's, whole.
    const settings = { ...AGENT_SETTINGS, ...SERVER_SETTINGS };
    const config = readSettings(settings, flagsOf(command), terminal.env);
    checkAttestation(config);
    const pid = pidOf(flags.pid);
    const attestation = await attestPid(pid, config, terminal);
    const compared = await compareEntries(
      attestation.selectors,
      clientOf(flags, terminal),
      flags.node ?? null,
    );
    if (flags.json === true) writeJson(terminal, document(pid, attestation, compared));
    else write(terminal, pid, attestation, compared);
  });
}

function pidOf(text: string): number {
  const pid = Number(text);
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new CarnetError('config_invalid', `--pid ${text} is no process number`);
  return pid;
}

/** As for a caller on the socket, but for what only a connection tells. */
async function attestPid(pid: number, config: AttestationConfig, terminal: Terminal): Promise<Attestation> {
  const { uid, gid } = readProcess('/proc', pid);
  const ours = process.geteuid?.();
  if (ours !== 0 && uid !== ours)
    throw new CarnetError(
      'permission_denied',
      `process ${pid} is of user ${uid}: only root may look at other users' processes (sudo carnet attest …)`,
    );
  await using platforms = await openPlatforms(config, {
    warn: (fields: { reason?: unknown }) =>
      note(terminal, `carnet attest: ${printable(String(fields.reason))}`),
  });
  const attestor = createUnixAttestor({ platforms: platforms.platforms });
  try {
    const askedAtBootMs = bootMs();
    const nothing = () => undefined;
    return await attestor.attest({ pid, uid, gid, askedAtBootMs, hasExited: () => false, close: nothing });
  } finally {
    attestor.close();
  }
}

function document(pid: number, { instance, selectors, evidence }: Attestation, compared: Compared): object {
  return {
    pid,
    instance,
    selectors: [...selectors, ...compared.nodeSelectors].map((selector) => ({
      selector,
      source: sourceOf(selector),
    })),
    evidence,
    entries:
      compared.decisions?.map((decision) => ({
        id: decision.entry.id,
        spiffe_id: 'spiffeId' in decision ? decision.spiffeId : decision.entry.spiffeId,
        outcome: decision.outcome,
        reason: reasonOf(decision),
      })) ?? null,
    entries_problem: compared.problem,
  };
}

function write(
  terminal: Terminal,
  pid: number,
  { instance, selectors, evidence }: Attestation,
  { nodeSelectors, decisions, problem }: Compared,
): void {
  writeFields(terminal, [
    ['Process', `${pid}  ${evidence.name}  ${evidence.executable ?? evidence.executable_problem}`],
    ['Instance', instance],
  ]);
  writeLine(terminal, '');
  const found = new Table(terminal, ['SELECTOR', 'BY THE WORD OF']);
  found.write([...selectors, ...nodeSelectors].map((selector) => [selector, sourceOf(selector)]));
  writeLine(terminal, '');
  if (decisions === null) note(terminal, `entries were not compared: ${printable(problem ?? '')}`);
  else writeDecisions(terminal, decisions, nodeSelectors.length > 0);
}

function writeDecisions(terminal: Terminal, decisions: readonly Decision[], nodeIsKnown: boolean): void {
  const table = new Table(terminal, ['ENTRY', 'SPIFFE ID', 'OUTCOME']);
  const first = defaultOf(decisions, nodeIsKnown);
  table.write(
    decisions.map((decision) => [
      decision.entry.id,
      'spiffeId' in decision ? decision.spiffeId : decision.entry.spiffeId,
      reasonOf(decision) ?? (decision === first ? 'granted, as its default' : 'granted'),
    ]),
  );
  if (!decisions.some(({ outcome }) => outcome === 'granted'))
    writeLine(terminal, coloured(terminal, 'yellow', 'no entry grants it an identity'));
}

/** What a caller's SDS `default` is; undefined where nothing is, or that depends on a node that isn't known here. */
function defaultOf(decisions: readonly Decision[], nodeIsKnown: boolean): Decision | undefined {
  return decisions.find(
    (decision) =>
      decision.outcome === 'granted' ||
      (!nodeIsKnown &&
        decision.outcome === 'selectors_missing' &&
        decision.missing.every((selector) => selector.startsWith('node:'))),
  );
}
