import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'commander';
import { CarnetError, errorCodeOf, isRetryable } from '../errors.ts';
import { advisedOf, agentSocketOf, agentSocketOption } from './agent-socket.ts';
import { LatestDelivery } from './deliver-latest.ts';
import { describeIdentity, type Identity, type IdentityDescription, identityOf } from './identity.ts';
import { writeIdentity } from './write-identity.ts';

interface Flags {
  readonly agentSocket?: string;
  readonly identity: string;
  readonly watch?: boolean;
  readonly write?: string;
  readonly run?: string;
  readonly timeout: string;
  readonly wait?: boolean;
  readonly json?: boolean;
}

const BUNDLE = 'ROOTCA';
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;
const RUN_TIMEOUT_MS = 60_000;

const EXAMPLE = `
Examples:
  $ carnet fetch                                  who am I?
  $ carnet fetch --watch                          each rotation as it arrives
  $ carnet fetch --watch --write /run/identity --run 'nginx -s reload'`;

/** `carnet fetch`. */
export function fetchCommand(): Command {
  return new Command('fetch')
    .description("fetch this process's identity from the agent's socket")
    .addOption(agentSocketOption())
    .option('--identity <SPIFFE-ID>', 'which of several identities to fetch', 'default')
    .option('--watch', 'stay, and print each rotation as it arrives')
    .option('--write <DIR>', 'keep svid.pem, svid.key and bundle.pem in this directory, replaced atomically')
    .option('--run <COMMAND>', 'run this shell command after each change')
    .option('--timeout <SECONDS>', 'how long to wait for an identity, without --watch', '10')
    .option('--wait', 'in that time wait for the agent and for an entry too, as an init container must')
    .option('--json', 'one JSON document; with --watch one a line')
    .addHelpText('after', EXAMPLE)
    .action(async (flags: Flags) => {
      const timeoutSeconds = Number(flags.timeout);
      if (!(timeoutSeconds > 0 && timeoutSeconds <= 3600))
        throw new CarnetError(
          'config_invalid',
          `--timeout ${flags.timeout}: give seconds, more than 0 and at most 3600`,
        );
      if (flags.run !== undefined && flags.run.trim() === '')
        throw new CarnetError('config_invalid', '--run: the command is empty');
      try {
        await (flags.watch === true ? watch : show)(flags, timeoutSeconds * 1000);
      } catch (error) {
        throw advisedOf(error, resolve(agentSocketOf(flags)));
      }
    });
}

async function show(flags: Flags, timeoutMs: number): Promise<void> {
  const identity = await fetchOnce(flags, timeoutMs);
  await store(identity, flags);
  await announce(identity, flags);
}

/** One answer, which the agent may hold back for a few seconds; with `--wait` as many tries as there is time for. */
async function fetchOnce(flags: Flags, timeoutMs: number): Promise<Identity> {
  const client = await connect(flags);
  const deadline = performance.now() + timeoutMs;
  try {
    for (let tries = 0; ; tries++) {
      try {
        const identity = identityOf(
          await client.fetch([flags.identity, BUNDLE], Math.max(1, deadline - performance.now())),
        );
        if (identity !== null) return identity;
        throw new CarnetError('unavailable', 'the agent sent no certificate: try again, or see its log');
      } catch (error) {
        const pauseMs = retryPauseMs(tries);
        if (!mayPass(error, flags) || performance.now() + pauseMs > deadline) throw error;
        await pause(pauseMs);
      }
    }
  } finally {
    client.close();
  }
}

/** An entry may be on its way, and the agent may be starting. */
function mayPass(error: unknown, { wait }: Flags): boolean {
  return wait === true && (isRetryable(error) || errorCodeOf(error) === 'permission_denied');
}

function retryPauseMs(tries: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(tries, 10)) * (0.5 + Math.random() / 2);
}

/**
 * Streams until interrupted; an agent that goes away is waited for. Who may have nothing is told so: at once, or with
 * `--wait` when `patienceMs` are over.
 */
async function watch(flags: Flags, patienceMs: number): Promise<void> {
  const patientUntil = performance.now() + patienceMs;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  const client = await connect(flags);
  let retries = 0;
  let lastPem = '';
  const delivery = new LatestDelivery<Identity>({
    store: (identity) => store(identity, flags),
    announce: (identity) => announce(identity, flags).catch((error: unknown) => say(messageOf(error))),
    onFailed: (error) => say(`${messageOf(error)}; trying again`),
    signal: interrupted.signal,
    random: Math.random,
  });
  try {
    while (!interrupted.signal.aborted) {
      try {
        await client.watch(
          [flags.identity, BUNDLE],
          (secrets) => {
            retries = 0;
            const identity = identityOf(secrets);
            if (identity === null) return say('connected; waiting for an identity');
            const pem = identity.svidPem + identity.bundlePem;
            if (pem !== lastPem) delivery.push(identity);
            lastPem = pem;
          },
          interrupted.signal,
        );
      } catch (error) {
        const denied = errorCodeOf(error) === 'permission_denied';
        if (denied && !(mayPass(error, flags) && performance.now() < patientUntil)) throw error;
        say(`the agent is away (${messageOf(error)}); trying again`);
      }
      await pause(retryPauseMs(retries++), undefined, { signal: interrupted.signal }).catch(() => undefined);
    }
    await delivery.settled();
  } finally {
    client.close();
  }
}

async function connect(flags: Flags) {
  const { SdsClient } = await import('../sds/client.ts');
  return new SdsClient(resolve(agentSocketOf(flags)), `carnet-fetch-${process.pid}`);
}

async function store(identity: Identity, flags: Flags): Promise<void> {
  if (flags.write !== undefined) await writeIdentity(resolve(flags.write), identity, Date.now());
}

async function announce(identity: Identity, flags: Flags): Promise<void> {
  const description = describeIdentity(identity);
  process.stdout.write(
    flags.json === true ? `${JSON.stringify(description)}\n` : tell(description, flags.watch === true),
  );
  if (flags.run !== undefined) await run(flags.run);
}

/** For a person. With `--watch` each change after the first is worth one line only. */
function tell(identity: IdentityDescription, watching: boolean): string {
  const minutes = (Date.parse(identity.not_after) - Date.now()) / 60_000;
  const left = minutes < 2 ? `${Math.round(minutes * 60)} s` : `${Math.round(minutes)} min`;
  const before = told;
  told = identity.serial;
  if (watching && before !== null) {
    const what = before === identity.serial ? 'new bundle' : 'rotated';
    return `${new Date().toISOString()}  ${what}  serial ${identity.serial}  valid until ${identity.not_after} (${left})\n`;
  }
  const lines = [
    ['SPIFFE ID', identity.spiffe_id],
    ...identity.dns_names.map((name) => ['DNS name', name]),
    ['Serial', identity.serial],
    ['Valid', `${identity.not_before} to ${identity.not_after} (${left} left)`],
    ...identity.chain.map(({ subject, sha256 }, i) => [
      i === 0 ? 'Chain' : '',
      `${subject === '' ? 'this leaf' : subject}  sha256:${sha256.slice(0, 16)}…`,
    ]),
    ...identity.bundle.map(({ subject, not_after, sha256 }, i) => [
      i === 0 ? 'Bundle' : '',
      `${subject}  until ${not_after}  sha256:${sha256.slice(0, 16)}…`,
    ]),
  ];
  return lines.map(([label = '', value]) => `${label.padEnd(11)}${value}\n`).join('');
}

/** The serial that was told last. */
let told: string | null = null;

async function run(command: string): Promise<void> {
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 2, 2], timeout: RUN_TIMEOUT_MS });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (code !== 0)
    throw new CarnetError('internal', `--run: the command ended with ${signal ?? `code ${code}`}`);
}

function say(text: string): void {
  process.stderr.write(`carnet fetch: ${text}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
