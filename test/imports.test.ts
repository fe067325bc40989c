import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'ava';

const SRC = resolve(import.meta.dirname, '../src');

/** Rooms that hold decisions: they import each other, `errors` and types, and nothing with an effect. */
const PURE = [
  'x509',
  'identity',
  'policy',
  'audit/log',
  'audit/ascii-json.ts',
  'federation/accept-bundle.ts',
  'federation/parse-endpoint.ts',
  'federation/refresh-time.ts',
  'rotation/plan.ts',
  'rotation/jwt-plan.ts',
  'rotation/gate.ts',
  'rotation/renewal.ts',
  'rotation/rotation.ts',
  'workload-api/answer.ts',
  'workload-api/claims.ts',
  'workload-api/jwt-answers.ts',
  'workload-api/x509-answers.ts',
  'forward/back-off.ts',
  'forward/syslog-message.ts',
  'forward/webhook-signature.ts',
  'sds/stream-reducer.ts',
  'sds/delta-reducer.ts',
  'sds/subscription.ts',
  'sds/resource.ts',
];
/** Rooms that touch the outside: none of them knows another. */
const ADAPTERS = ['db', 'api', 'sds', 'workload-api', 'attestation', 'kubernetes'];
/** What pure code may take from Node: arithmetic on bytes, no files, sockets, processes or timers. */
const PURE_BUILTINS = new Set(['node:crypto', 'node:buffer', 'node:net']);
/** The wiring: the only places that see everything. */
const WIRING = ['main.ts', 'cli'];

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

test('pure rooms import only pure rooms, types, and nothing that has an effect', (t) => {
  const offenders = imports().filter(
    ({ from, to, typeOnly }) =>
      isIn(from, PURE) &&
      !typeOnly &&
      (to.startsWith('node:') ? !PURE_BUILTINS.has(to) : isRepositoryFile(to) && !isPureTarget(to)),
  );
  t.deepEqual(offenders, []);
});

test('adapters import each other not at all', (t) => {
  const offenders = imports().filter(({ from, to, typeOnly }) => {
    const [a, b] = [roomOf(from, ADAPTERS), roomOf(to, ADAPTERS)];
    return !typeOnly && a !== undefined && b !== undefined && a !== b;
  });
  t.deepEqual(offenders, []);
});

test('nothing but main and the commands imports the commands', (t) => {
  t.deepEqual(
    imports().filter(({ from, to }) => isIn(to, WIRING) && !isIn(from, WIRING)),
    [],
  );
});

test('no file imports itself in a circle', (t) => {
  const graph = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports())
    if (!typeOnly && isRepositoryFile(to)) graph.set(from, [...(graph.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    t.false(path.includes(file), `${[...path, file].join(' -> ')}`);
    if (done.has(file) || path.includes(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
});

function isPureTarget(file: string): boolean {
  return isIn(file, PURE) || ['errors.ts', 'duration.ts'].includes(file);
}

function isRepositoryFile(target: string): boolean {
  return target.endsWith('.ts');
}

function isIn(file: string, places: readonly string[]): boolean {
  return roomOf(file, places) !== undefined;
}

function roomOf(file: string, places: readonly string[]): string | undefined {
  return places.find((place) => file === place || file.startsWith(`${place}/`));
}

/** Every import in src/; repository files as paths from src/, packages by their names. */
function imports(): Import[] {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('gen/'),
  );
  return files.flatMap((from) => {
    const text = readFileSync(join(SRC, from), 'utf8');
    return [
      ...text.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm),
    ].map(([, typeOnly, target, dynamic]) => {
      const to = target ?? dynamic ?? '';
      return {
        from,
        to: to.startsWith('.') ? relative(SRC, resolve(SRC, dirname(from), to)) : to,
        typeOnly: typeOnly !== undefined,
      };
    });
  });
}
