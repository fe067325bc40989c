import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { type Federation, type ForeignBundle, PROFILES } from '../federation/federation.ts';
import type { FederationInput } from '../federation/operate.ts';
import { isStale } from '../federation/refresh-time.ts';
import { parseBundle } from '../identity/bundle-document.ts';
import { parseTrustDomain, type TrustDomain } from '../identity/spiffe-id.ts';
import { Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

const DocumentInput = z
  .string()
  .meta({ description: 'A SPIFFE bundle document (SPIFFE Trust Domain and Bundle §4), to the letter' });

const EndpointInput = z
  .strictObject({
    profile: z.enum(PROFILES),
    url: z.string(),
    spiffe_id: z.string().optional().meta({ description: 'With https_spiffe' }),
  })
  .meta({ id: 'FederationEndpointInput' });

const FederationInputBody = z
  .strictObject({
    trust_domain: z.string(),
    endpoint: EndpointInput.optional(),
    bundle: DocumentInput.optional(),
  })
  .meta({
    id: 'FederationInput',
    examples: [
      { trust_domain: 'b.example', endpoint: { profile: 'https_web', url: 'https://b.example/bundle' } },
    ],
  });

const BundleInput = z.strictObject({ bundle: DocumentInput }).meta({ id: 'FederationBundleInput' });

const FEDERATION_FIELDS = {
  trust_domain: z.string(),
  endpoint: z
    .strictObject({ profile: z.enum(PROFILES), url: z.string(), spiffe_id: z.string().nullable() })
    .nullable()
    .meta({ description: 'Null: its bundle is set by hand' }),
  bundle: z
    .strictObject({
      sequence: z.string().nullable().meta({ description: "The publisher's; a whole number of any size" }),
      refresh_hint_seconds: z.int().nullable(),
      sha256: z.string().meta({ description: 'Of the document' }),
      x509_authorities: z.int(),
      jwt_authorities: z.int(),
      changed_at: Time,
    })
    .nullable()
    .meta({ description: 'Null: none was accepted yet' }),
  checked_at: Time.nullable().meta({ description: 'When the endpoint last gave a bundle that was accepted' }),
  next_refresh_at: Time.nullable(),
  stale: z.boolean().meta({ description: 'Three looks at its endpoint, or more, were in vain' }),
  failures: z.int().meta({ description: 'In a row' }),
  problem: z.string().nullable(),
};

const FederationView = z.strictObject(FEDERATION_FIELDS).meta({ id: 'Federation' });
const FederationDetail = z
  .strictObject({ ...FEDERATION_FIELDS, document: z.string().nullable() })
  .meta({ id: 'FederationDetail' });

export type FederationBody = z.output<typeof FederationView>;
export type FederationDetailBody = z.output<typeof FederationDetail>;

/** What the endpoints need of federation. */
export interface FederationControl {
  list(): Promise<readonly Federation[]>;
  create(input: FederationInput, actor: string): Promise<Federation>;
  delete(trustDomain: TrustDomain, actor: string): Promise<Federation>;
  setBundle(input: { trustDomain: string; bundle: string }, actor: string): Promise<Federation>;
  /** Fetches it now. */
  refresh(trustDomain: TrustDomain, actor: string): Promise<Federation>;
}

const PARAMS = z.strictObject({
  trust_domain: z
    .string()
    .regex(/^[a-z0-9._-]{1,255}$/, 'must be the name of a trust domain')
    .transform((text) => parseTrustDomain(text))
    .meta({ examples: ['b.example'] }),
});
const PATH = '/v1/federation/{trust_domain}';

export function federationRoutes(control: FederationControl, clock: Clock): Route[] {
  return [...readRoutes(control, clock), ...changeRoutes(control, clock)];
}

function readRoutes(control: FederationControl, clock: Clock): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/federation',
      name: 'listFederations',
      access: 'reader',
      summary: 'List the other trust domains that are known',
      description: 'By name.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('FederationPage', FederationView),
      handle: async ({ query }) => {
        const { items, nextCursor } = cutPage(await control.list(), ({ trustDomain }) => trustDomain, query);
        return { items: items.map((one) => federationBody(one, clock())), next_cursor: nextCursor };
      },
    }),
    defineRoute({
      method: 'GET',
      path: PATH,
      name: 'getFederation',
      access: 'reader',
      summary: 'Get another trust domain, with its bundle',
      params: PARAMS,
      response: FederationDetail,
      handle: async ({ params }) => {
        const found = (await control.list()).find(({ trustDomain }) => trustDomain === params.trust_domain);
        if (found === undefined)
          throw new CarnetError('not_found', `there is no federation with ${params.trust_domain}`);
        return { ...federationBody(found, clock()), document: found.bundle?.document ?? null };
      },
    }),
  ];
}

function changeRoutes(control: FederationControl, clock: Clock): Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/federation',
      name: 'createFederation',
      access: 'admin',
      summary: 'Make another trust domain known',
      description:
        'Its bundle then goes to the holders of entries that federate with it. An `https_spiffe` endpoint, and one ' +
        'that is left out, needs a bundle.',
      body: FederationInputBody,
      response: FederationView,
      statuses: [201],
      handle: async ({ body: { trust_domain, endpoint, bundle }, caller }) => {
        const input: FederationInput = {
          trustDomain: trust_domain,
          endpoint: endpoint === undefined ? null : { ...endpoint, spiffeId: endpoint.spiffe_id ?? null },
          bundle: bundle ?? null,
        };
        return federationBody(await control.create(input, caller.actor), clock());
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: PATH,
      name: 'deleteFederation',
      access: 'admin',
      summary: 'Trust another trust domain no more',
      description: 'Proxies are told at once. Answers the last state.',
      params: PARAMS,
      response: FederationView,
      handle: async ({ params, caller }) =>
        federationBody(await control.delete(params.trust_domain, caller.actor), clock()),
    }),
    defineRoute({
      method: 'POST',
      path: `${PATH}/bundle`,
      name: 'setFederationBundle',
      access: 'admin',
      summary: "Set another trust domain's bundle by hand",
      description: 'Whatever its sequence number is; until its endpoint, if it has one, gives another.',
      params: PARAMS,
      body: BundleInput,
      response: FederationView,
      handle: async ({ params, body, caller }) => {
        const input = { trustDomain: params.trust_domain, bundle: body.bundle };
        return federationBody(await control.setBundle(input, caller.actor), clock());
      },
    }),
    defineRoute({
      method: 'POST',
      path: `${PATH}/refresh`,
      name: 'refreshFederation',
      access: 'operator',
      summary: "Fetch another trust domain's bundle now",
      params: PARAMS,
      response: FederationView,
      handle: async ({ params, caller }) =>
        federationBody(await control.refresh(params.trust_domain, caller.actor), clock()),
    }),
  ];
}

function federationBody(federation: Federation, now: number): z.input<typeof FederationView> {
  const { endpoint, bundle, checkedAt, nextRefreshAt, createdAt } = federation;
  const since = (checkedAt ?? createdAt).getTime();
  const read = bundle === null ? { bundle: null, problem: null } : readBundle(bundle);
  return {
    trust_domain: federation.trustDomain,
    endpoint: endpoint && {
      profile: endpoint.profile,
      url: endpoint.url,
      spiffe_id: endpoint.profile === 'https_spiffe' ? endpoint.spiffeId : null,
    },
    bundle: read.bundle,
    checked_at: checkedAt && timeText(checkedAt),
    next_refresh_at: nextRefreshAt && timeText(nextRefreshAt),
    stale: endpoint !== null && isStale(now, since, bundle?.refreshHintSeconds ?? null),
    failures: federation.failures,
    problem: read.problem ?? federation.problem,
  };
}

/** One that this version can't read is as good as none. */
function readBundle(bundle: ForeignBundle) {
  try {
    return { bundle: bundleBody(bundle), problem: null };
  } catch (error) {
    return { bundle: null, problem: `what is stored cannot be read: ${(error as Error).message}` };
  }
}

function bundleBody(bundle: ForeignBundle) {
  const { x509Authorities, jwtAuthorities } = parseBundle(bundle.document);
  return {
    sequence: bundle.sequence?.toString() ?? null,
    refresh_hint_seconds: bundle.refreshHintSeconds,
    sha256: bundle.sha256,
    x509_authorities: x509Authorities.length,
    jwt_authorities: jwtAuthorities.length,
    changed_at: timeText(bundle.changedAt),
  };
}
