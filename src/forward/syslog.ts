import { CarnetError } from '../errors.ts';
import type { Batch } from './batch.ts';
import { deliverConfirmed } from './confirmed-delivery.ts';
import { failed, SEND_TIMEOUT_MS, type Sink } from './sink.ts';
import { encodeSyslogMessage, frameSyslogMessage, type SyslogOrigin } from './syslog-message.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';

export interface SyslogOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles;
  readonly origin: SyslogOrigin;
  readonly timeoutMs?: number;
}

/**
 * Syslog over TLS (RFC 5425), which has no acknowledgement. What comes closest is that the receiver's process has read
 * all: each batch has a connection of its own, which ends in a way that shows it. What a receiver loses after it has read
 * it, nobody can see; so when one is not there any more, the last batch that it took is sent again.
 */
export function createSyslog(options: SyslogOptions): Sink {
  const { host, port, timeoutMs = SEND_TIMEOUT_MS } = options;
  return {
    name: 'syslog',
    mayForget: true,
    target: `tls://${host.includes(':') ? `[${host}]` : host}:${port}`,
    send: async (batch, signal) => {
      const late = AbortSignal.timeout(timeoutMs);
      try {
        const bytes = Buffer.from(framesOf(batch, options.origin), 'latin1');
        const tls = await readTlsFiles(options.tls);
        await deliverConfirmed({ host, port, tls }, bytes, AbortSignal.any([signal, late]));
        return null;
      } catch (error) {
        return failed(errorOf(error, late, signal, timeoutMs));
      }
    },
  };
}

function framesOf({ lines }: Batch, origin: SyslogOrigin): string {
  return lines.map((line) => frameSyslogMessage(encodeSyslogMessage(line, origin))).join('');
}

function errorOf(error: unknown, late: AbortSignal, signal: AbortSignal, timeoutMs: number): CarnetError {
  if (error instanceof CarnetError) return error;
  const options = { cause: error };
  if (signal.aborted) return new CarnetError('shutting_down', 'the server is stopping', options);
  if (late.aborted)
    return new CarnetError('timeout', `it did not read all and close within ${timeoutMs} ms`, options);
  return new CarnetError('unavailable', (error as Error).message, options);
}
