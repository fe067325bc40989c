import type { AgentBody } from '../api/agents.ts';
import type { EntryBody } from '../api/entries.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import { parseSelector, type Selector } from '../identity/selector.ts';
import { type Decision, explain } from '../policy/authorize.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import type { Client } from './client.ts';

/** What the server's entries say to the selectors, or why that isn't known. */
export interface Compared {
  readonly nodeSelectors: readonly Selector[];
  readonly decisions: readonly Decision[] | null;
  readonly problem: string | null;
}

/**
 * Compares the server's entries with a caller's selectors, and with those of a node where one is named. A server that
 * can't be asked is a `problem`; where a node is named, it is thrown, like `not_found` for a node that is not known.
 */
export async function compareEntries(
  selectors: readonly Selector[],
  client: Client,
  node: string | null,
): Promise<Compared> {
  try {
    const nodeSelectors = node === null ? [] : await selectorsOfNode(client, node);
    const entries: RegistrationEntry[] = [];
    for await (const page of client.pages<EntryBody>('/v1/entries')) entries.push(...page.map(entryOf));
    return { nodeSelectors, decisions: explain([...selectors, ...nodeSelectors], entries), problem: null };
  } catch (error) {
    // Nobody asked for this server by name, and the selectors are worth something without it.
    if (node !== null || errorCodeOf(error) === 'internal') throw error;
    return { nodeSelectors: [], decisions: null, problem: (error as Error).message };
  }
}

async function selectorsOfNode(client: Client, node: string): Promise<Selector[]> {
  for await (const page of client.pages<AgentBody>('/v1/agents')) {
    const agent = page.find((one) => one.node === node);
    if (agent !== undefined) return [`node:name:${node}`, ...agent.selectors].map(parseSelector);
  }
  throw new CarnetError('not_found', `the server knows no agent of node ${node}: see carnet agents list`);
}

function entryOf(body: EntryBody): RegistrationEntry {
  return {
    id: body.id,
    version: body.version,
    spiffeId: body.spiffe_id,
    selectors: body.selectors.map(parseSelector),
    dnsNames: body.dns_names,
    // What follows makes no difference to whom an entry matches.
    ttlSeconds: null,
    hint: body.hint,
    federatesWith: [],
  };
}

/** Why an entry grants nothing; null for one that does. */
export function reasonOf(decision: Decision): string | null {
  switch (decision.outcome) {
    case 'granted':
      return null;
    case 'selectors_missing':
      return `it lacks ${decision.missing.join(' ')}`;
    case 'placeholder_unfilled':
      return decision.fault;
    case 'shadowed':
      return `${decision.by} grants the same identity, and comes first`;
  }
}
