import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import type { EntryGuard, EntryInput, EntryStore } from '../policy/entry-store.ts';
import { mayBecome } from '../policy/id-template.ts';
import { parseEntry } from '../policy/parse-entry.ts';
import { planEntries } from './entry-plan.ts';
import { Duration, durationText, NameInput, TextInput } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { rolesFor } from './role.ts';
import { type Caller, defineRoute, type Route } from './route.ts';

const MAX_APPLY_BYTES = 8 * 1024 * 1024;
const MAX_APPLY_ENTRIES = 10_000;

/** The outside form of an entry: its shape here, its meaning in policy/parse-entry.ts. */
const EntryInputBody = z
  .strictObject({
    id: z.string().optional(),
    spiffe_id: z.string().meta({ description: 'A path such as `/web`, or a whole SPIFFE ID' }),
    selectors: z.array(z.string()).meta({ description: 'All must match' }),
    dns_names: z.array(z.string()).optional(),
    ttl: z.string().optional(),
    hint: z.string().optional().meta({ description: 'For workloads that hold several identities' }),
    federates_with: z
      .array(z.string())
      .optional()
      .meta({ description: 'Other trust domains whose bundles its holders get' }),
  })
  .meta({
    id: 'EntryInput',
    examples: [
      {
        id: 'web',
        spiffe_id: '/web',
        selectors: ['unix:uid:1000'],
        dns_names: ['web.internal'],
        ttl: '1h',
      },
    ],
  });

const ENTRY_FIELDS = {
  spiffe_id: z.string(),
  selectors: z.array(z.string()),
  dns_names: z.array(z.string()),
  ttl: Duration.nullable().meta({ description: "Null: the server's default" }),
  hint: z.string().nullable(),
  federates_with: z.array(z.string()),
};

export const Entry = z
  .strictObject({ id: z.string(), version: z.int(), ...ENTRY_FIELDS })
  .meta({ id: 'Entry' });

const AppliedEntry = z
  .strictObject({
    id: z.string(),
    version: z.int().nullable().meta({ description: 'Null in a dry run' }),
    ...ENTRY_FIELDS,
  })
  .meta({ id: 'AppliedEntry' });

const ApplyBody = z
  .strictObject({
    entries: z.array(EntryInputBody).max(MAX_APPLY_ENTRIES),
    prune: z.boolean().default(false).meta({ description: 'Delete every entry that is not in the list' }),
    dry_run: z.boolean().default(false).meta({ description: 'Change nothing; answer what would change' }),
  })
  .meta({ id: 'EntriesApply' });

const ApplyResult = z
  .strictObject({
    dry_run: z.boolean(),
    created: z.array(AppliedEntry),
    updated: z.array(AppliedEntry),
    unchanged: z.int(),
    deleted: z.array(Entry),
  })
  .meta({ id: 'EntriesApplied' });

export type EntryBody = z.output<typeof Entry>;
export type AppliedEntryBody = z.output<typeof AppliedEntry>;
export type ApplyResultBody = z.output<typeof ApplyResult>;

export function entryRoutes(
  entries: EntryStore,
  trustDomain: TrustDomain,
  roleIdentities: readonly SpiffeId[],
): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/entries',
      name: 'listEntries',
      access: 'reader',
      summary: 'List the registration entries',
      description: 'By ID.',
      query: z.strictObject({
        search: TextInput.optional().meta({
          description: 'Part of its ID, its SPIFFE ID or one of its selectors, in any case',
        }),
        ...PAGE_QUERY,
      }),
      response: pageSchema('EntryPage', Entry),
      handle: async ({ query: { search, ...query } }) => {
        const found = (await entries.list()).filter((entry) => fits(entry, search?.toLowerCase()));
        const page = cutPage(found, ({ id }) => id, query);
        return { items: page.items.map(entryBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/entries',
      name: 'createEntry',
      access: 'operator',
      summary: 'Create a registration entry',
      body: EntryInputBody,
      response: Entry,
      statuses: [201],
      handle: async ({ body, caller }) => {
        const input = parseEntry(body, trustDomain);
        return entryBody(await entries.create(input, caller.actor, guardOf(caller, roleIdentities)));
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/entries:apply',
      name: 'applyEntries',
      access: 'operator',
      summary: 'Create and update registration entries',
      description:
        'Brings entries to what the list says: creates and updates in one transaction, then with `prune` ' +
        'deletes the others, one by one. An entry without an `id` is the one with the same `spiffe_id` and ' +
        '`selectors`. Repeating the call changes nothing.',
      body: ApplyBody,
      maxBodyBytes: MAX_APPLY_BYTES,
      response: ApplyResult,
      handle: async ({ body, caller }) => {
        const inputs = body.entries.map((input, i) => inList(i, () => parseEntry(input, trustDomain)));
        const live = await entries.list();
        const plan = planEntries(live, inputs, body.prune);
        const guard = guardOf(caller, roleIdentities);
        const updated = new Set(plan.updated.map(({ id }) => id));
        const replaced = live.filter(({ id }) => updated.has(id));
        for (const entry of [...plan.created, ...plan.updated, ...replaced, ...plan.deleted]) guard(entry);
        if (body.dry_run)
          return {
            dry_run: true,
            created: plan.created.map(plannedBody),
            updated: plan.updated.map(plannedBody),
            unchanged: plan.unchanged,
            deleted: plan.deleted.map(entryBody),
          };
        const changes = await entries.apply(plan.inputs, caller.actor, guard);
        return {
          dry_run: false,
          created: changes.created.map(entryBody),
          updated: changes.updated.map(entryBody),
          unchanged: changes.unchanged,
          deleted: (await deleteAll(entries, plan.deleted, caller.actor, guard)).map(entryBody),
        };
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/entries/{id}',
      name: 'deleteEntry',
      access: 'operator',
      summary: 'Delete a registration entry',
      description:
        'What it granted is renewed no more; certificates already delivered stay valid until they end. ' +
        'Answers the last version.',
      params: z.strictObject({ id: NameInput }),
      response: Entry,
      handle: async ({ params, caller }) =>
        entryBody(await entries.delete(params.id, caller.actor, guardOf(caller, roleIdentities))),
    }),
  ];
}

/**
 * Whoever may write entries, and may not make every token, writes none for an identity that has a role: he would have
 * it by that, and a certificate is limited to no scopes. Nor does he end one, for whoever has the role by it. The guard
 * throws `permission_denied`.
 */
function guardOf({ role, scopes, actor }: Caller, roleIdentities: readonly SpiffeId[]): EntryGuard {
  if (scopes === null && role !== null && rolesFor('admin').includes(role)) return () => undefined;
  return ({ spiffeId }) => {
    const taken = roleIdentities.find((id) => mayBecome(spiffeId, id));
    if (taken !== undefined)
      throw new CarnetError(
        'permission_denied',
        `${taken} has a role by --identity-role: ${actor} may neither write nor delete an entry that could give it`,
      );
  };
}

/** Whether `part`, in lower case, is in what a person knows it by. */
function fits({ id, spiffeId, selectors }: RegistrationEntry, part: string | undefined): boolean {
  return part === undefined || [id, spiffeId, ...selectors].some((text) => text.toLowerCase().includes(part));
}

export function entryBody(entry: RegistrationEntry): z.input<typeof Entry> {
  return { ...contents(entry), id: entry.id, version: entry.version };
}

function plannedBody(input: EntryInput): z.input<typeof AppliedEntry> {
  return { ...contents(input), id: input.id ?? '', version: null };
}

function contents(entry: Omit<EntryInput, 'id'>) {
  return {
    spiffe_id: entry.spiffeId,
    selectors: [...entry.selectors],
    dns_names: [...entry.dnsNames],
    ttl: durationText(entry.ttlSeconds),
    hint: entry.hint,
    federates_with: [...entry.federatesWith],
  };
}

/** One that somebody else deleted meanwhile is gone as well. */
async function deleteAll(
  entries: EntryStore,
  doomed: readonly RegistrationEntry[],
  actor: string,
  guard: EntryGuard,
): Promise<RegistrationEntry[]> {
  const deleted: RegistrationEntry[] = [];
  for (const { id } of doomed)
    try {
      deleted.push(await entries.delete(id, actor, guard));
    } catch (error) {
      if (!(error instanceof CarnetError) || error.code !== 'not_found') throw error;
    }
  return deleted;
}

/** Says which entry of a list an error is about. */
function inList(index: number, parse: () => EntryInput): EntryInput {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof CarnetError)) throw error;
    throw new CarnetError(error.code, `entries[${index}]: ${error.message}`, { cause: error });
  }
}
