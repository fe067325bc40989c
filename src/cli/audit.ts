import { Command } from 'commander';
import type { IssuanceBody, IssuanceDetailsBody } from '../api/issuances.ts';
import { proveCommand } from './audit-prove.ts';
import { verifyCommand } from './audit-verify.ts';
import { refuseShortened, shortInstance } from './instance.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, PROCESS_TERMINAL, Table, type Terminal, writeFields, writeJson, writeLine } from './output.ts';
import { parseWhen, shortTime } from './times.ts';

const FILTERS = ['identity', 'instance', 'serial', 'node', 'entry', 'authority'] as const;
type Filter = (typeof FILTERS)[number];

interface SearchFlags extends OperatorFlags, Partial<Record<Filter, string>> {
  readonly from?: string;
  readonly to?: string;
  readonly limit?: string;
  readonly cursor?: string;
  readonly all?: boolean;
}

/** `carnet audit search|show|prove|verify`. */
export function auditCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('audit')
    .description('every certificate that was ever issued')
    .addCommand(searchCommand(terminal))
    .addCommand(showCommand(terminal))
    .addCommand(proveCommand(terminal))
    .addCommand(verifyCommand(terminal));
}

function searchCommand(terminal: Terminal): Command {
  return operatorCommand('search')
    .description('search the issued certificates, newest first; all given filters must fit')
    .option('--identity <ID>', 'SPIFFE ID, or its path')
    .option('--instance <INSTANCE>', 'container or process, in full, as carnet audit show has it')
    .option('--serial <HEX>', 'serial number, with or without colons')
    .option('--node <NAME>', 'node whose agent asked')
    .option('--entry <ID>', 'registration entry that granted it')
    .option('--authority <ID>', 'authority that signed it')
    .option('--from <TIME>', 'recorded at or after: a date, a time, or how long ago')
    .option('--to <TIME>', 'recorded before')
    .option('--limit <N>', 'how many at most, 1 to 1000 (default: 100)')
    .option('--cursor <CURSOR>', 'go on where an earlier search stopped')
    .option('--all', 'all of them, however many')
    .addHelpText(
      'after',
      '\nExample: every identity issued to payments in March\n  $ carnet audit search --identity /payments --from 2026-03-01 --to 2026-04-01 --all',
    )
    .action(async (flags: SearchFlags, command: Command) => {
      if (flags.all === true && (flags.limit !== undefined || flags.cursor !== undefined))
        command.error('error: --all goes with neither --limit nor --cursor');
      const client = clientOf(flags, terminal);
      const query = queryOf(flags, terminal.clock());
      const table = new Table(terminal, ['RECORDED', 'IDENTITY', 'SERIAL', 'EXPIRES', 'INSTANCE', 'NODE']);
      const write = (items: readonly IssuanceBody[]): void => {
        if (flags.json === true) for (const item of items) writeJson(terminal, item);
        else table.write(items.map(issuanceRow));
      };
      if (flags.all === true) {
        for await (const items of client.pages<IssuanceBody>('/v1/issuances', query)) write(items);
        return;
      }
      const page = await client.page<IssuanceBody>('/v1/issuances', query);
      write(page.items);
      if (page.next_cursor !== null)
        note(terminal, `there are more: repeat with --cursor ${page.next_cursor}, or with --all`);
    });
}

function showCommand(terminal: Terminal): Command {
  return operatorCommand('show')
    .argument('<SERIAL>', 'serial number, with or without colons')
    .description('show one certificate, who vouched for its holder, and which entry granted it')
    .addHelpText(
      'after',
      '\nExample: who was behind the certificate that a peer showed?\n  $ carnet audit show "$(openssl x509 -in peer.pem -noout -serial | cut -d= -f2)"',
    )
    .action(async (serial: string, flags: OperatorFlags) => {
      const path = `/v1/issuances/${encodeURIComponent(serial)}`;
      const issuance = await clientOf(flags, terminal).get<IssuanceDetailsBody>(path);
      if (flags.json === true) writeJson(terminal, issuance);
      else writeDetails(terminal, issuance);
    });
}

function queryOf(flags: SearchFlags, now: number): Record<string, string> {
  if (flags.instance !== undefined) refuseShortened(flags.instance);
  const given = {
    ...Object.fromEntries(FILTERS.map((filter) => [filter, flags[filter]])),
    from: flags.from === undefined ? undefined : parseWhen('--from', flags.from, now),
    to: flags.to === undefined ? undefined : parseWhen('--to', flags.to, now),
    limit: flags.limit,
    cursor: flags.cursor,
  };
  return Object.fromEntries(
    Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

function issuanceRow(issuance: IssuanceBody): string[] {
  return [
    shortTime(issuance.recorded_at),
    issuance.identity,
    issuance.serial,
    shortTime(issuance.not_after),
    shortInstance(issuance.instance),
    issuance.node ?? '-',
  ];
}

function writeDetails(terminal: Terminal, issuance: IssuanceDetailsBody): void {
  const { decoded, token, granted_by: entry } = issuance;
  const seen = Object.entries(issuance.evidence ?? {}).filter(([, value]) => value !== null);
  writeFields(terminal, [
    ['Serial', issuance.serial],
    ['Identity', issuance.identity],
    ...(decoded === null ? [] : [['Names', decoded.subject_alt_names.join(' ')] as const]),
    ...(token === null ? [] : [['Audience', [token.claims.aud].flat().join(' ')] as const]),
    ['Valid', `${shortTime(issuance.not_before)} to ${shortTime(issuance.not_after)}`],
    ...revokedField(issuance),
    ['Recorded', issuance.recorded_at],
    ['Profile', [issuance.profile, decoded?.public_key ?? token?.header.alg].join(', ')],
    ['Signed by', `${issuance.authority}${decoded === null ? '' : ` (${decoded.issuer})`}`],
    ['Node', issuance.node ?? '-'],
    ['Instance', issuance.instance ?? '-'],
    ['Requested by', issuance.requester],
    ['Log entry', issuance.log === null ? 'not yet' : String(issuance.log.index)],
    ['Granted by', entry === null ? '-' : `${entry.id} version ${entry.version}: ${entry.spiffe_id}`],
    ['  selectors', entry?.selectors.join(' ') ?? '-'],
    ['Key SHA-256', issuance.public_key_sha256],
    [token === null ? 'Certificate SHA-256' : 'Token SHA-256', issuance.certificate_sha256],
    ...seen.map(
      ([name, value]) =>
        [`Evidence ${name}`, typeof value === 'string' ? value : JSON.stringify(value)] as const,
    ),
  ]);
  if (issuance.certificate !== null) writeLine(terminal, issuance.certificate.trimEnd());
}

function revokedField({ revocation }: IssuanceDetailsBody): [string, string][] {
  if (revocation === null) return [];
  const { revoked_at, reason_code, reason, actor } = revocation;
  return [['Revoked', `${shortTime(revoked_at)} by ${actor}, ${reason_code}: ${reason || '-'}`]];
}
