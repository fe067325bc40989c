import type { ServerDuplexStream } from '@grpc/grpc-js';
import { callerOf, RateLimit } from '../../api/rate-limit.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import {
  type AgentCertificate,
  AttestRequest,
  type AttestResponse,
  type Claim,
  NodeAttestationService,
} from '../../gen/carnet/agent/v1/agent.ts';
import { type Decoded, decoderOf } from '../../grpc/decoded.ts';
import { statusWithCode } from '../../grpc/error-code.ts';
import { MessageReader } from '../../grpc/message-reader.ts';
import { resetIfKept } from '../../grpc/reset.ts';
import { parseSelector, selectorParts } from '../../identity/selector.ts';
import { parseCsr } from '../../x509/csr.ts';
import { parseNodeName } from '../identity.ts';
import type { AgentDirectory } from './agent-directory.ts';
import { nodeSelectorsOf } from './agent-gate.ts';
import type { AgentStore } from './agent-store.ts';
import { type CertifyOptions, certifyAgent } from './certify-agent.ts';
import type { Listener } from './listener.ts';
import type { AttestedNode, NodeAttestor } from './node-attestor.ts';
import type { LinkRefusals } from './refusals.ts';

export interface AttestServiceOptions extends CertifyOptions {
  readonly listener: Listener;
  readonly attestors: readonly NodeAttestor[];
  readonly agents: Pick<AgentStore, 'attested'>;
  readonly directory: AgentDirectory;
  /** Of the node whose agent this server is itself; null where it is none's. */
  readonly ownNode: string | null;
  readonly refusals: LinkRefusals;
  readonly clock: Clock;
}

/** Ours. A method may ask elsewhere; whoever waits holds one of the places. */
const TIMEOUT_MS = 30_000;
const MAX_AT_ONCE = 256;
/** Whoever says nothing in all the calls that he may have leaves a quarter of the places to others. */
const MAX_OF_ONE_ADDRESS = 192;
const MAX_PAYLOAD_BYTES = 64 * 1024;
const MAX_CHALLENGES = 4;
const MAX_SELECTORS = 64;
/** From the end of a call here to the end that its peer must then make of it. */
const GRACE_MS = 5_000;
/** Of one node: an agent that is started again and again must not fill history. */
const NODE_RATE = { perSecond: 0.1, burst: 20 };
/** Of one address, whatever it claims: behind one there may be a whole fleet. */
const ADDRESS_RATE = { perSecond: 100, burst: 1000 };

type Messages = MessageReader<Decoded<AttestRequest>>;
type AttestCall = ServerDuplexStream<Decoded<AttestRequest>, AttestResponse>;

interface Progress {
  /** Once the method has named it. */
  node: string | null;
  /** The call has its answer, or nobody waits for one. */
  isOver: boolean;
}

/** Adds the service by which a node that has nothing yet becomes an agent. */
export function addAttestService(options: AttestServiceOptions): void {
  const service = new AttestService(options);
  options.listener.addService(
    { attest: { ...NodeAttestationService.attest, requestDeserialize: decoderOf(AttestRequest) } },
    { attest: (call: AttestCall) => void service.attest(call) },
  );
}

class AttestService {
  readonly #options: AttestServiceOptions;
  readonly #nodeRate: RateLimit;
  readonly #addressRate: RateLimit;
  /** Calls under way, by address. */
  readonly #open = new Map<string, number>();

  constructor(options: AttestServiceOptions) {
    this.#options = options;
    this.#nodeRate = new RateLimit(NODE_RATE, options.clock);
    this.#addressRate = new RateLimit(ADDRESS_RATE, options.clock);
  }

  async attest(call: AttestCall): Promise<void> {
    const address = this.#options.listener.addressOf(call);
    const progress: Progress = { node: null, isOver: false };
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new CarnetError('timeout', `no attestation within ${TIMEOUT_MS / 1000} s`)),
      TIMEOUT_MS,
    );
    call.on('error', () => undefined);
    call.once('cancelled', () => reject(new CarnetError('unavailable', 'the agent broke off')));
    const caller = callerOf(address);
    this.#open.set(caller, (this.#open.get(caller) ?? 0) + 1);
    try {
      const certificate = await Promise.race([this.#attest(call, address, progress), late]);
      call.write({ step: { $case: 'certificate', value: certificate } });
      call.end();
    } catch (error) {
      if (!call.cancelled)
        this.#options.refusals.add({ error, node: progress.node, address, what: 'attest' });
      call.emit('error', Object.assign(new Error('refused'), statusWithCode(error)));
    } finally {
      clearTimeout(timer);
      progress.isOver = true;
      this.#leave(caller);
      resetIfKept(call, GRACE_MS);
    }
  }

  async #attest(call: AttestCall, address: string, progress: Progress): Promise<AgentCertificate> {
    const caller = callerOf(address);
    const open = [...this.#open.values()].reduce((sum, count) => sum + count, 0);
    if (open > MAX_AT_ONCE || (this.#open.get(caller) ?? 0) > MAX_OF_ONE_ADDRESS)
      throw new CarnetError('overloaded', `${open} nodes are being attested: try again in a moment`);
    if (this.#addressRate.take(caller) > 0)
      throw new CarnetError('rate_limited', `too many attestations from ${address}: try again in a moment`);
    const messages = new MessageReader<Decoded<AttestRequest>>(call);
    const claim = await readClaim(messages);
    // Before anything is used up: the key that will be certified.
    await parseCsr(claim.csr);
    const attestor = this.#options.attestors.find(({ method }) => method === claim.method);
    if (attestor === undefined) throw this.#unknownMethod();
    const node = checkNode(await attestor.attest(claim.payload, challengeOn(call, messages)));
    progress.node = node.name;
    return this.#enrol(attestor.method, node, claim.csr, address, progress);
  }

  #leave(caller: string): void {
    const rest = (this.#open.get(caller) ?? 1) - 1;
    if (rest === 0) this.#open.delete(caller);
    else this.#open.set(caller, rest);
  }

  /** The certificate is on record before the agent is, and both before it is released. */
  async #enrol(
    method: string,
    node: AttestedNode,
    csr: Uint8Array,
    address: string,
    progress: Progress,
  ): Promise<AgentCertificate> {
    const { directory, agents, ownNode } = this.#options;
    if (node.name === ownNode)
      throw new CarnetError(
        'conflict',
        `this server is the agent of ${ownNode} itself: give the node another name`,
      );
    directory.checkNotBanned(node.name);
    const waitSeconds = this.#nodeRate.take(node.name);
    if (waitSeconds > 0)
      throw new CarnetError(
        'rate_limited',
        `${node.name} was attested too often: try again in ${waitSeconds} s`,
      );
    const evidence = { method, ...node.evidence, address };
    return certifyAgent(
      { node: node.name, selectors: nodeSelectorsOf(node.name, node.selectors), evidence, csr },
      this.#options,
      async (credential) => {
        // Whoever broke off, or was told that it took too long, has asked elsewhere by now.
        if (progress.isOver) throw new CarnetError('unavailable', 'nobody waits for this attestation');
        await agents.attested(method, node, credential);
      },
    );
  }

  #unknownMethod(): CarnetError {
    const known = this.#options.attestors.map(({ method }) => method).join(', ');
    return new CarnetError('attestation_failed', `this server attests nodes by ${known} only`);
  }
}

async function readClaim(messages: Messages): Promise<Claim> {
  const step = await nextStep(messages);
  if (step?.$case !== 'claim') throw new CarnetError('invalid_argument', 'the first message must be a claim');
  if (step.value.payload.length > MAX_PAYLOAD_BYTES)
    throw new CarnetError('too_large', `the claim's payload is larger than ${MAX_PAYLOAD_BYTES} bytes`);
  return step.value;
}

/** Sends a challenge and waits for its answer; so many times, and never two at once. */
function challengeOn(call: AttestCall, messages: Messages): (question: Uint8Array) => Promise<Uint8Array> {
  let asked = 0;
  return async (question) => {
    if (++asked > MAX_CHALLENGES) throw new Error(`a method asks more than ${MAX_CHALLENGES} times`);
    call.write({ step: { $case: 'challenge', value: question } });
    const step = await nextStep(messages);
    if (step?.$case !== 'challengeAnswer')
      throw new CarnetError('attestation_failed', "the agent did not answer the method's challenge");
    if (step.value.length > MAX_PAYLOAD_BYTES)
      throw new CarnetError('too_large', `an answer is larger than ${MAX_PAYLOAD_BYTES} bytes`);
    return step.value;
  };
}

async function nextStep(messages: Messages): Promise<AttestRequest['step']> {
  const next = await messages.next();
  if (next === undefined)
    throw new CarnetError('invalid_argument', 'the agent ended the call before it was attested');
  if (next.message === null)
    throw new CarnetError('invalid_argument', 'a message is not a valid AttestRequest');
  return next.message.step;
}

/** What a method found, in the forms that all of Carnet relies on. */
function checkNode(node: AttestedNode): AttestedNode {
  if (node.selectors.length > MAX_SELECTORS)
    throw new CarnetError('attestation_failed', `the node has more than ${MAX_SELECTORS} selectors`);
  for (const selector of node.selectors) {
    const { type, key } = selectorParts(parseSelector(selector));
    if (type !== 'node' || key === 'name')
      throw new CarnetError('attestation_failed', `${selector} is no selector that a method gives to a node`);
  }
  return { ...node, name: parseNodeName(node.name) };
}
