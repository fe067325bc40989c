import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { type Command, CommanderError } from 'commander';
import type { ApiDependencies } from '../../src/api/create-api.ts';
import { exitCodeOf } from '../../src/cli/exit.ts';
import type { Terminal } from '../../src/cli/output.ts';
import { NOW, startApi } from '../api/harness.ts';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Surroundings {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: string;
  readonly now?: number;
  /** The width of a terminal at stdout; without it stdout is a pipe. */
  readonly columns?: number;
  /** What a person types at the terminal when asked. */
  readonly typed?: string;
}

/** A server, and the environment in which its operator works. */
export async function startOperator(t: ExecutionContext, overrides: Partial<ApiDependencies> = {}) {
  const api = await startApi(t, overrides);
  const dataDir = await mkdtemp(join(tmpdir(), 'carnet-cli-'));
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  await writeFile(join(dataDir, 'admin.token'), `${api.bearers.admin}\n`, { mode: 0o600 });
  return { api, dataDir, env: { CARNET_SERVER: api.url, CARNET_DATA_DIR: dataDir } };
}

/** Runs a command as main.ts does, and gives what a shell would see. */
export async function runCommand(
  make: (terminal: Terminal) => Command,
  args: readonly string[],
  { env = {}, stdin = '', now = NOW, columns, typed }: Surroundings = {},
): Promise<Outcome> {
  const stdout = collect(columns === undefined ? {} : { isTTY: true, columns });
  const stderr = collect({});
  const terminal: Terminal = {
    stdin: typed === undefined ? Readable.from([stdin]) : Object.assign(typing(typed), { isTTY: true }),
    stdout: stdout.stream,
    stderr: stderr.stream,
    env,
    clock: () => now,
  };
  const command = make(terminal);
  configure(command, stderr.stream);
  let code = 0;
  try {
    await command.parseAsync([...args], { from: 'user' });
  } catch (error) {
    code = exitCodeOf(error);
    if (!(error instanceof CommanderError)) stderr.stream.write(`carnet: ${(error as Error).message}\n`);
  }
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

function configure(command: Command, stderr: Writable): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => stderr.write(text),
    writeErr: (text) => stderr.write(text),
  });
  for (const child of command.commands) configure(child, stderr);
}

function typing(text: string): PassThrough {
  const stream = new PassThrough();
  stream.write(text);
  return stream;
}

function collect(fields: object) {
  const chunks: string[] = [];
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream: Object.assign(stream, fields), text: () => chunks.join('') };
}

export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

// biome-ignore lint/suspicious/noExplicitAny: the tests look into JSON lines
export function jsonLines(text: string): any[] {
  return lines(text).map((line) => JSON.parse(line));
}
