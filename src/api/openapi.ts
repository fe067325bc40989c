import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { HTTP_STATUS } from './problem.ts';
import { rolesFor } from './role.ts';
import { defineRoute, type Route } from './route.ts';
import { scopeOf } from './scope.ts';

const COMPONENTS = '#/components/schemas/';

type JsonObject = Record<string, unknown>;

/** The problem document as a client may rely on it (RFC 9457). */
export const ProblemBody = z
  .strictObject({
    status: z.int(),
    title: z.string(),
    code: z.enum(Object.keys(HTTP_STATUS)),
    detail: z.string().meta({ description: 'What was wrong, with the value, and what to do' }),
    instance: z.string().meta({ description: '`urn:uuid:…`, the ID of the request as the log has it' }),
  })
  .meta({ id: 'Problem' });

const OpenApiDocument = z
  .looseObject({ openapi: z.string(), info: z.looseObject({}), paths: z.looseObject({}) })
  .meta({ id: 'OpenApi' });

/** The route that describes all of `routes`, and itself. */
export function openApiRoute(routes: readonly Route[]): Route {
  const route: Route = defineRoute({
    method: 'GET',
    path: '/v1/openapi.json',
    name: 'getOpenApi',
    access: 'public',
    summary: 'Get this description',
    response: OpenApiDocument,
    handle: () => document,
  });
  const document = openApiDocument([...routes, route]);
  return route;
}

/** The OpenAPI 3.1 document of the routes, made from the schemas that validate their requests. */
export function openApiDocument(routes: readonly Route[]): z.input<typeof OpenApiDocument> {
  const schemas: JsonObject = {};
  const reference = (schema: z.ZodType, io: 'input' | 'output'): JsonObject => {
    const { $schema: _, $defs = {}, ...json } = z.toJSONSchema(schema, { io });
    Object.assign(schemas, pointToComponents($defs));
    return pointToComponents(json);
  };
  const paths: Record<string, JsonObject> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    Object.assign(paths[route.path] ?? {}, { [route.method.toLowerCase()]: operation(route, reference) });
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Carnet',
      version: 'v1',
      description:
        'Every list is paged by `limit` and `cursor`; an unknown query parameter or field is an error. ' +
        'Times are RFC 3339, serials and digests lower-case hex.',
    },
    paths,
    components: {
      schemas,
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: '`carnet_<role>_…`' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'carnet-session',
          description: '`__Host-carnet-session` over https; what changes something needs Carnet-CSRF besides',
        },
      },
    },
  };
}

function operation(
  route: Route,
  reference: (schema: z.ZodType, io: 'input' | 'output') => JsonObject,
): JsonObject {
  const problem = {
    description: 'The error',
    content: { 'application/problem+json': { schema: reference(ProblemBody, 'output') } },
  };
  const schema = reference(route.response, 'output');
  const types = [route.mediaType, ...route.otherMediaTypes];
  const content = Object.fromEntries(types.map((type) => [type, { schema }]));
  const roles = rolesFor(route.access);
  const scope = scopeOf(route);
  const responses = route.statuses.map((status) => [status, { description: STATUS_CODES[status], content }]);
  return {
    operationId: route.name,
    summary: route.summary,
    ...(route.description === '' ? {} : { description: route.description }),
    security: route.access === 'public' ? [] : [{ token: roles }, { session: roles }],
    ...(scope === null ? {} : { 'x-carnet-scope': scope }),
    parameters: [
      ...parameters('path', reference(route.params, 'input')),
      ...parameters('query', reference(route.query, 'input')),
    ],
    ...(route.body === null
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: reference(route.body, 'input') } },
          },
        }),
    responses: { ...Object.fromEntries(responses), default: problem },
  };
}

/** A strict object's properties as OpenAPI parameters. */
function parameters(place: 'path' | 'query', schema: JsonObject): JsonObject[] {
  const required = new Set((schema.required as string[] | undefined) ?? []);
  return Object.entries((schema.properties as Record<string, JsonObject> | undefined) ?? {}).map(
    ([name, { description, ...json }]) => ({
      name,
      in: place,
      required: required.has(name),
      ...(description === undefined ? {} : { description }),
      schema: json,
    }),
  );
}

/** Zod keeps what is used twice in `$defs`; OpenAPI keeps it in the components. */
function pointToComponents(json: object): JsonObject {
  const text = JSON.stringify(json, (key, value) =>
    key === '$ref' && typeof value === 'string' ? value.replace('#/$defs/', COMPONENTS) : value,
  );
  return JSON.parse(text);
}
