import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { accepts } from './accepts.ts';
import { freePort } from './free-port.ts';

const PROGRAM = '/usr/sbin/rsyslogd';
/** The network may fail, and somebody else may be installing. */
const APT = 'apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120';
const PACKAGES = 'rsyslog rsyslog-openssl';
const INSTALL = `${APT} update && ${APT} install -y --no-install-recommends ${PACKAGES}`;
const INSTALL_TIMEOUT_MS = 240_000;
const READY_TIMEOUT_MS = 110_000;

/** PEM files. */
export interface RsyslogTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** A real rsyslog that takes syslog over TLS from whoever has a certificate of the CA, and writes what comes to a file. */
export class Rsyslog {
  readonly port: number;
  readonly #directory: string;
  #process: ChildProcess | null = null;
  #said = '';

  private constructor(port: number, directory: string) {
    this.port = port;
    this.#directory = directory;
  }

  static async start(tls: RsyslogTls): Promise<Rsyslog> {
    install();
    const rsyslog = new Rsyslog(await freePort(), mkdtempSync(join(tmpdir(), 'carnet-rsyslog-')));
    writeFileSync(rsyslog.#config, configuration(rsyslog.port, rsyslog.#output, rsyslog.#directory, tls));
    await rsyslog.start();
    return rsyslog;
  }

  /** What was received so far: of each message the structured data, a tab, and the message itself. */
  lines(): string[] {
    if (!existsSync(this.#output)) return [];
    // The last one may be under way.
    return readFileSync(this.#output, 'utf8').split('\n').slice(0, -1);
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    const args = ['-n', '-f', this.#config, '-i', join(this.#directory, 'pid')];
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
      });
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await accepts({ host: '127.0.0.1', port: this.port }))) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`rsyslogd did not start: ${this.#said}`);
      await pause(50);
    }
  }

  /** In order: what it has read is written. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null) return;
    const ended = once(child, 'close');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    await ended;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #config(): string {
    return join(this.#directory, 'rsyslog.conf');
  }

  get #output(): string {
    return join(this.#directory, 'received');
  }
}

function configuration(port: number, output: string, directory: string, tls: RsyslogTls): string {
  return `
global(workDirectory="${directory}" maxMessageSize="8k" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="${tls.caFile}"
  defaultNetstreamDriverCertFile="${tls.certFile}"
  defaultNetstreamDriverKeyFile="${tls.keyFile}")
main_queue(queue.type="Direct")
module(load="imtcp" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="received" type="string" string="%structured-data%\\t%msg%\\n")
ruleset(name="carnet") { action(type="omfile" file="${output}" template="received") }
input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="carnet")
`;
}

/** From Debian, where it is missing and we are root. One process at a time. */
function install(): void {
  const modules = spawnSync('find', ['/usr/lib', '-path', '*rsyslog/lmnsd_ossl.so'], { encoding: 'utf8' });
  if (existsSync(PROGRAM) && modules.stdout.trim() !== '') return;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    throw new Error(`this test needs rsyslog with TLS (on Debian: apt install ${PACKAGES})`);
  const { status, stderr, error } = spawnSync(
    'flock',
    [join(tmpdir(), 'carnet-rsyslog.lock'), 'sh', '-c', INSTALL],
    {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      timeout: INSTALL_TIMEOUT_MS,
    },
  );
  if (status !== 0) throw new Error(`rsyslog could not be installed: ${error?.message ?? stderr}`);
}
