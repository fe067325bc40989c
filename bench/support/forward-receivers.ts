import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { Trust } from '../../test/forward/receivers.ts';

/** Ports of receivers that take all at once, and of such that take nothing and never answer. */
export interface ReceiverPorts {
  readonly webhook: number;
  readonly syslog: number;
  readonly hungWebhook: number;
  readonly hungSyslog: number;
}

export interface Receivers extends AsyncDisposable {
  readonly trust: Trust;
  readonly ports: ReceiverPorts;
}

/** Receivers in a process of their own, whose CPU time is not the sender's. */
export async function startReceivers(): Promise<Receivers> {
  const trust = new Trust();
  const child: ChildProcess = fork(import.meta.filename, [
    trust.server.certificateFile,
    trust.server.keyFile,
  ]);
  const [ports] = (await once(child, 'message')) as [ReceiverPorts];
  return {
    trust,
    ports,
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
      trust.remove();
    },
  };
}

async function serve(certFile: string, keyFile: string): Promise<ReceiverPorts> {
  const identity = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  const listen = async (server: Server): Promise<number> => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  return {
    webhook: await listen(
      createHttps(identity, (request, response) => {
        request.resume().on('end', () => response.writeHead(204).end());
      }),
    ),
    syslog: await listen(createTls(identity, (socket) => void socket.on('error', () => undefined).resume())),
    hungWebhook: await listen(createHttps(identity, () => undefined)),
    hungSyslog: await listen(
      createTls(identity, (socket) => void socket.on('error', () => undefined).pause()),
    ),
  };
}

if (process.argv[1] === import.meta.filename) {
  const [, , certFile = '', keyFile = ''] = process.argv;
  process.on('disconnect', () => process.exit());
  process.send?.(await serve(certFile, keyFile));
}
