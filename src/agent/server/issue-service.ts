import { RateLimit } from '../../api/rate-limit.ts';
import type { Attestation } from '../../attestation/attestation.ts';
import type { Issue } from '../../ca/issue-request.ts';
import type { MintJwt } from '../../ca/jwt-request.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError, errorCodeOf } from '../../errors.ts';
import type {
  IssueJwtRequest,
  IssueJwtResponse,
  IssueRequest,
  IssueResponse,
  Outcome,
  Refused,
  Wanted,
} from '../../gen/carnet/agent/v1/agent.ts';
import type { Selector } from '../../identity/selector.ts';
import type { Grant } from '../../policy/entry.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AdmittedAgent } from './agent-gate.ts';
import { parseWorkload } from './parse-workload.ts';
import type { LinkRefusals } from './refusals.ts';

/**
 * What holds of what an agent says of a workload, by the word of somebody else: of the cluster's API, for one. Must not
 * reject for what the agent says.
 */
export type ConfirmWorkload = (node: string, claimed: Attestation) => Promise<Confirmed>;

export interface Confirmed {
  /** What was claimed, without the selectors that do not hold. */
  readonly attestation: Attestation;
  /** Why these do not: `attestation_failed`, or `unavailable` and its like where nobody could be asked. Null for none. */
  readonly doubt: CarnetError | null;
}

export interface IssueServiceOptions {
  /** What the server's own index of entries grants. */
  readonly authorize: (selectors: readonly Selector[]) => readonly Grant[];
  readonly confirm: ConfirmWorkload | null;
  /** Refuses what is denied. */
  readonly issue: Issue;
  /** Refuses what is denied. */
  readonly mintJwt: MintJwt;
  readonly refusals: LinkRefusals;
  readonly clock: Clock;
}

/**
 * Ours, of one agent: 2,000 containers with two identities each start at once; from then on, renewals of ten times as many
 * at lives of an hour. What is issued is on record for ever.
 */
const RATE = { perSecond: 100, burst: 4000 };
const MAX_AUDIENCE = 32;
const MAX_AUDIENCE_BYTES = 1024;

/** A wait for a rate's allowance. */
export class TooFast extends CarnetError {
  readonly retryAfterMs: number;

  constructor(seconds: number) {
    super('rate_limited', `this agent asks for more than its share: try again in ${seconds} s`);
    this.retryAfterMs = seconds * 1000;
  }
}

/** Issues to the workloads of an agent's node what the entries grant them, judged here and by nobody's word alone. */
export class IssueService {
  readonly #options: IssueServiceOptions;
  readonly #rate: RateLimit;

  constructor(options: IssueServiceOptions) {
    this.#options = options;
    this.#rate = new RateLimit(RATE, options.clock);
  }

  /** Each stands for itself. Throws `too_large`, `rate_limited` for the whole. */
  async issue(agent: AdmittedAgent, { wanted }: IssueRequest): Promise<IssueResponse> {
    if (wanted.length > LINK_LIMITS.wanted)
      throw new CarnetError(
        'too_large',
        `${wanted.length} are wanted at once, and ${LINK_LIMITS.wanted} may be`,
      );
    this.#take(agent, wanted.length);
    return { outcomes: await Promise.all(wanted.map((one) => this.#outcome(agent, one))) };
  }

  async issueJwt(agent: AdmittedAgent, request: IssueJwtRequest): Promise<IssueJwtResponse> {
    this.#take(agent, 1);
    try {
      const { grant, attestation } = await this.#judge(agent, request);
      const audience = parseAudience(request.audience);
      const jwt = await this.#options.mintJwt({
        grant,
        audience,
        attestation,
        node: agent.node,
        requester: `agent:${agent.node}`,
      });
      const value = {
        token: jwt.token,
        issuedAtMs: jwt.issuedAt.getTime(),
        expiresAtMs: jwt.expiresAt.getTime(),
      };
      return { outcome: { $case: 'issued', value } };
    } catch (error) {
      return { outcome: { $case: 'refused', value: this.#refused(agent, error, 'IssueJwt') } };
    }
  }

  async #outcome(agent: AdmittedAgent, wanted: Wanted): Promise<Outcome> {
    try {
      const { grant, attestation } = await this.#judge(agent, wanted);
      const { chain, serial, authority } = await this.#options.issue({
        csr: wanted.csr,
        grant,
        attestation,
        node: agent.node,
        requester: `agent:${agent.node}`,
      });
      const value = { chain: [...chain], serial, authority, entryVersion: grant.entryVersion };
      return { outcome: { $case: 'issued', value } };
    } catch (error) {
      return { outcome: { $case: 'refused', value: this.#refused(agent, error, 'Issue') } };
    }
  }

  /**
   * Authorizes again: by the server's own entries, over what the agent saw of the workload, as far as it is confirmed, and
   * we of the node. What isn't confirmed is of no matter to whom it grants nothing.
   */
  async #judge(
    agent: AdmittedAgent,
    wanted: Omit<Wanted, 'csr'>,
  ): Promise<{ grant: Grant; attestation: Attestation }> {
    const { authorize, confirm } = this.#options;
    const grantTo = ({ selectors }: Attestation): Grant | undefined =>
      authorize(selectors).find(
        ({ entryId, spiffeId }) => entryId === wanted.entryId && spiffeId === wanted.spiffeId,
      );
    const claimed = parseWorkload(wanted, agent);
    const ungranted = (): CarnetError =>
      new CarnetError(
        'permission_denied',
        `no entry ${quoted(wanted.entryId)} grants ${quoted(wanted.spiffeId)} to what runs on ${agent.node} as ${claimed.instance}`,
      );
    const claimedGrant = grantTo(claimed);
    if (claimedGrant === undefined) throw ungranted();
    if (confirm === null) return { grant: claimedGrant, attestation: claimed };
    const { attestation, doubt } = await confirm(agent.node, claimed);
    // By the entries of now: to ask the cluster takes time, and they may have changed.
    const grant = grantTo(attestation);
    if (grant === undefined) throw doubt ?? ungranted();
    return { grant, attestation };
  }

  #take({ node }: AdmittedAgent, count: number): void {
    const seconds = this.#rate.take(node, count);
    if (seconds > 0) throw new TooFast(seconds);
  }

  #refused({ node, address }: AdmittedAgent, error: unknown, what: string): Refused {
    this.#options.refusals.add({ error, node, address, what });
    const code = errorCodeOf(error);
    return { code, message: code === 'internal' ? 'internal error' : (error as Error).message };
  }
}

/** JWT-SVID §3.1: at least one. */
function parseAudience(audience: readonly string[]): readonly string[] {
  if (audience.length === 0 || audience.length > MAX_AUDIENCE)
    throw new CarnetError('invalid_argument', `a token is for 1 to ${MAX_AUDIENCE} audiences`);
  for (const one of audience)
    if (one === '' || Buffer.byteLength(one) > MAX_AUDIENCE_BYTES)
      throw new CarnetError('invalid_argument', `an audience has 1 to ${MAX_AUDIENCE_BYTES} bytes`);
  return audience;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
