import type { OperatorEvent } from '../audit/operator-event.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Caller, Route } from './route.ts';

/** Of a path or a query in an event: the longest ones that a client of ours sends have 200. */
const MAX_TEXT = 1000;

/** A request, as far as others are to hear of it. */
export interface Visit {
  readonly caller: Caller;
  readonly route: Route;
  /** As it was asked for. */
  readonly path: string;
  readonly query: string;
}

export interface AccessRecordOptions {
  /** Resolves once the event is committed. */
  readonly record: (event: OperatorEvent) => Promise<void>;
  /** Whether each read of evidence leaves an event, whoever reads. */
  readonly evidenceReads: boolean;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Puts on record who read evidence, where that is wanted, and all that matters of what break-glass does. */
export class AccessRecord {
  readonly #options: AccessRecordOptions;

  constructor(options: AccessRecordOptions) {
    this.#options = options;
  }

  /** Before the request is looked into: what a broken glass changes is on record first. Throws what recording throws. */
  async begins(visit: Visit): Promise<void> {
    const { log, metrics, record } = this.#options;
    const { caller, route } = visit;
    if (caller.role !== 'break-glass') return;
    metrics.breakGlassRequests.inc();
    log.error({ actor: caller.actor, method: route.method, route: route.path }, 'the glass is broken');
    if (route.method !== 'GET') await record(eventOf(visit, 'break-glass.use'));
  }

  /** Before the answer goes out: evidence that nobody is known to have read was not given. Throws like {@link begins}. */
  async answers(visit: Visit): Promise<void> {
    const { evidenceReads, record } = this.#options;
    const isHeard = evidenceReads || visit.caller.role === 'break-glass';
    if (visit.route.evidence && isHeard) await record(eventOf(visit, 'evidence.read'));
  }
}

function eventOf({ caller, route, path, query }: Visit, action: string): OperatorEvent {
  return {
    actor: caller.actor,
    action,
    subject: `${route.method} ${printable(path)}`,
    before: null,
    after: {
      role: caller.role,
      token: caller.tokenId,
      session: caller.sessionId,
      ...(query === '' ? {} : { query: printable(query) }),
    },
    reason: '',
  };
}

/** A request target is ASCII (RFC 9112 §3.2), but what is on record for ever is looked at again. */
function printable(text: string): string {
  return text.slice(0, MAX_TEXT).replace(/[^\x20-\x7e]/g, '?');
}
