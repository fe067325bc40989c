import type { ServiceError } from '@grpc/grpc-js';
import { CarnetError } from '../../errors.ts';
import type { AgentLinkClient, Health, Hello, SessionResponse } from '../../gen/carnet/agent/v1/agent.ts';
import { carnetErrorOf } from '../../grpc/error-code.ts';

/** Ours: a server that has a thousand agents back at once lets them in by and by. */
const FIRST_RESPONSE_MS = 120_000;

/** The stream on which a server tells what is new, and is told how the agent fares. */
export interface Session {
  /** Rejects when it is over, with why: for the server's refusal its words. */
  readonly ended: Promise<never>;
  report(health: Health): void;
  close(): void;
}

/**
 * Opens a session. `onResponse` is called with each message; what it throws ends the session. A session whose first
 * message does not come in time is over.
 */
export function openSession(
  client: AgentLinkClient,
  hello: Hello,
  onResponse: (response: SessionResponse) => void,
): Session {
  const stream = client.session();
  stream.write({ message: { $case: 'hello', value: hello } });
  const ended = new Promise<never>((_, reject) => {
    const overdue = setTimeout(
      () => fail(new CarnetError('timeout', `the server said nothing for ${FIRST_RESPONSE_MS / 1000} s`)),
      FIRST_RESPONSE_MS,
    ).unref();
    const fail = (error: unknown): void => {
      clearTimeout(overdue);
      reject(error);
      stream.cancel();
    };
    stream.on('data', (response: SessionResponse) => {
      clearTimeout(overdue);
      try {
        onResponse(response);
      } catch (error) {
        fail(error);
      }
    });
    stream.on('error', (error: ServiceError) => fail(carnetErrorOf(error)));
    stream.on('end', () => fail(new CarnetError('unavailable', 'the server ended the session')));
  });
  // Whoever closes it may not be waiting any more.
  ended.catch(() => undefined);
  return {
    ended,
    report: (health) => void stream.write({ message: { $case: 'health', value: health } }),
    close: () => stream.cancel(),
  };
}
