import { setTimeout as pause } from 'node:timers/promises';
import type { RotationBody } from '../api/rotations.ts';
import { isRetryable } from '../errors.ts';
import type { Client } from './client.ts';
import { note, printable, type Terminal, writeJson, writeLine } from './output.ts';
import { relativeTime, shortTime } from './times.ts';

const REFRESH_MS = 500;
const BAR_WIDTH = 24;
const COUNTDOWN = '  at the latest';
const NAMED = 8;
/** A server that is restarted in the middle is waited for this long. */
const AWAY_LIMIT_MS = 10 * 60_000;

/** Shows a rotation until it is over; what is shown, goes on without us. */
export async function followRotation(
  client: Client,
  terminal: Terminal,
  kind: string,
  json: boolean,
): Promise<void> {
  const view = new LiveView(terminal);
  let awaySince: number | null = null;
  for (;;) {
    try {
      const { items } = await client.get<{ items: RotationBody[] }>('/v1/rotations');
      awaySince = null;
      const rotation = items.find((one) => one.kind === kind);
      if (rotation === undefined) break;
      if (json) writeJson(terminal, rotation);
      else view.show(rotation, terminal.clock());
    } catch (error) {
      awaySince ??= terminal.clock();
      if (!isRetryable(error) || terminal.clock() - awaySince > AWAY_LIMIT_MS) throw error;
      note(terminal, 'the server is away; waiting for it');
    }
    await pause(REFRESH_MS);
  }
  if (!json) writeLine(terminal, `done: see carnet ${kind === 'jwt' ? 'jwt' : 'root'} status`);
}

/** A bar for each phase, and by name who is waited for; counted down from `now`, or by the clock where that is null. */
export function rotationLines(rotation: RotationBody, now: number | null): string[] {
  const { kind, old_id, new_id, phase, consumers, observed, laggard_count, presenter_count, outstanding } =
    rotation;
  const activated = phase === 'draining' || phase === 'retiring';
  if (kind === 'jwt') return jwtRotationLines(rotation, activated, now);
  const acknowledged = activated ? consumers : rotation.acknowledged;
  const waitsForAcks = phase === 'waiting for acknowledgements';
  const lines = [
    `${kind} rotation ${old_id} -> ${new_id ?? 'new'}: ${phase}${rotation.urgent ? ' (compromised)' : ''}${rotation.hands_free ? '' : ', step by step'}`,
    `  prepared      ${bar(new_id === null ? 0 : 1, 1)}`,
    `  acknowledged  ${bar(acknowledged, consumers)} ${acknowledged} of ${consumers}`,
    `  observed      ${bar(observed, consumers)} ${observed} of ${consumers}`,
    `  activated     ${bar(activated ? 1 : 0, 1)}`,
    ...(kind === 'root' && activated
      ? [
          `  drained       ${bar(consumers - presenter_count, consumers)} ${presenter_count} still present the old chain` +
            (outstanding > 0 ? `, ${outstanding} certificates to wait for` : ''),
        ]
      : []),
  ];
  if (rotation.open_by !== null) lines.push(`${COUNTDOWN} ${whenText(rotation.open_by, now)}`);
  if (phase === 'waiting for an import')
    lines.push('  the root is an outside CA: carnet root csr, have it signed, then carnet root import');
  const missing = waitsForAcks ? rotation.laggards : activated ? rotation.presenters : [];
  for (const { names, instance, node, why, until, problem } of missing.slice(0, NAMED))
    lines.push(
      `  - ${printable(names.join('/') || instance)} on ${node} ${why}` +
        (until === null ? '' : `, until ${whenText(until, now)}`) +
        (problem === null ? '' : `: ${printable(problem)}`),
    );
  const more = Math.max(laggard_count, presenter_count) - NAMED;
  if (missing.length > 0 && more > 0) lines.push(`  … and ${more} more`);
  if (waitsForAcks && !rotation.hands_free && laggard_count === 0)
    lines.push('  everyone is ready: go on with carnet root activate');
  if (activated && !rotation.hands_free && presenter_count === 0 && outstanding === 0)
    lines.push('  nothing chains to it: go on with carnet root retire');
  return lines;
}

/** Nobody acknowledges a key of JWT-SVIDs: it is held for a time, and then the old one until its tokens have ended. */
function jwtRotationLines(rotation: RotationBody, activated: boolean, now: number | null): string[] {
  const { old_id, new_id, phase, urgent, hands_free, outstanding, open_by } = rotation;
  const published = activated || phase === 'holding';
  const lines = [
    `jwt rotation ${old_id} -> ${new_id ?? 'new'}: ${phase}${urgent ? ' (compromised)' : ''}${hands_free ? '' : ', step by step'}`,
    `  prepared      ${bar(new_id === null ? 0 : 1, 1)}`,
    `  published     ${bar(published ? 1 : 0, 1)}`,
    `  activated     ${bar(activated ? 1 : 0, 1)}`,
    ...(activated ? [`  drained       ${outstanding} tokens of the old key to wait for`] : []),
  ];
  return open_by === null ? lines : [...lines, `${COUNTDOWN} ${whenText(open_by, now)}`];
}

function whenText(time: string, now: number | null): string {
  return now === null ? shortTime(time) : relativeTime(time, now);
}

function bar(done: number, of: number): string {
  const filled = of === 0 ? BAR_WIDTH : Math.max(0, Math.min(BAR_WIDTH, Math.round((done / of) * BAR_WIDTH)));
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`;
}

/** Redraws in place on a terminal; elsewhere writes only what changed. */
class LiveView {
  readonly #terminal: Terminal;
  #shown: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(rotation: RotationBody, now: number): void {
    const { stdout } = this.#terminal;
    // In a file a countdown alone is no news.
    const shown =
      stdout.isTTY === true
        ? rotationLines(rotation, now)
        : rotationLines(rotation, null).filter((line) => !line.startsWith(COUNTDOWN));
    if (shown.join('\n') === this.#shown.join('\n')) return;
    if (stdout.isTTY === true && this.#shown.length > 0) stdout.write(`\x1b[${this.#shown.length}A\x1b[J`);
    stdout.write(`${shown.join('\n')}\n`);
    this.#shown = shown;
  }
}
