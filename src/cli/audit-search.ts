import type { Command } from 'commander';
import type { IssuanceBody } from '../api/issuances.ts';
import { type ListFlags, type Listing, pagedCommand, writeList } from './audit-list.ts';
import { refuseShortened, shortInstance } from './instance.ts';
import { operatorCommand } from './operator.ts';
import type { Terminal } from './output.ts';
import { parseWhen, shortTime } from './times.ts';

interface SearchFlags extends ListFlags {
  readonly identity?: string;
  readonly identityPrefix?: string;
  readonly instance?: string;
  readonly serial?: string;
  readonly fingerprint?: string;
  readonly node?: string;
  readonly entry?: string;
  readonly rule?: string;
  readonly entryVersion?: string;
  readonly authority?: string;
  readonly profile?: string;
  readonly requester?: string;
  readonly validAt?: string;
  readonly unexpiredAt?: string;
  readonly revoked?: boolean;
  readonly from?: string;
  readonly to?: string;
}

const ISSUANCES: Listing<IssuanceBody> = {
  path: '/v1/issuances',
  heads: ['RECORDED', 'IDENTITY', 'SERIAL', 'EXPIRES', 'INSTANCE', 'NODE'],
  row: (issuance) => [
    shortTime(issuance.recorded_at),
    issuance.identity,
    issuance.serial,
    shortTime(issuance.not_after),
    shortInstance(issuance.instance),
    issuance.node ?? '-',
  ],
};

const HOLDERS: Listing<IssuanceBody> = {
  path: '/v1/issuances',
  heads: ['INSTANCE', 'NODE', 'SERIAL', 'VALID FROM', 'VALID TO', 'RULE'],
  row: (issuance) => [
    shortInstance(issuance.instance),
    issuance.node ?? '-',
    issuance.serial,
    shortTime(issuance.not_before),
    shortTime(issuance.not_after),
    issuance.entry === null ? '-' : `${issuance.entry} v${issuance.entry_version}`,
  ],
};

const EXAMPLES = `
Examples
  every identity issued to payments in March:
  $ carnet audit search --identity-prefix /payments/ --from 2026-03-01 --to 2026-04-01 --all
  everything that a node ever obtained:
  $ carnet audit search --node web-1 --all
  everything that a version of a rule granted:
  $ carnet audit search --rule web --entry-version 3 --all
  whose is this certificate, or this key?
  $ carnet audit search --fingerprint "$(openssl x509 -in peer.pem -noout -fingerprint -sha256 | cut -d= -f2)"
  what a token's owner or a cluster's signer asked for:
  $ carnet audit search --requester kubernetes:csr/web-7d4f
  what was revoked this week, and what was valid at noon all the same:
  $ carnet audit search --revoked --from 7d
  $ carnet audit search --unexpired-at 2026-03-10T12:00:00Z --revoked
  every CA certificate:
  $ carnet audit search --profile issuing-ca`;

/** `carnet audit search`. */
export function searchCommand(terminal: Terminal): Command {
  const command = operatorCommand('search')
    .description('search the issued certificates, newest first; all given filters must fit')
    .option('--identity <ID>', 'SPIFFE ID, or its path')
    .option('--identity-prefix <PREFIX>', 'the beginning of a SPIFFE ID, or of its path: /payments/')
    .option('--instance <INSTANCE>', 'container or process, in full, as carnet audit show has it')
    .option('--serial <HEX>', 'serial number, with or without colons')
    .option('--fingerprint <HEX>', 'SHA-256 of the certificate or of its public key, with or without colons')
    .option('--node <NAME>', 'node whose agent asked')
    .option('--entry <ID>', 'registration entry that granted it')
    .option('--rule <ID>', 'the same as --entry')
    .option('--entry-version <N>', 'that version of the entry')
    .option('--authority <ID>', 'authority that signed it')
    .option('--profile <NAME>', 'x509-svid, jwt-svid, agent, server, issuing-ca or root-ca')
    .option('--requester <WHO>', 'who asked, as carnet audit show has it: agent:web-1')
    .option('--valid-at <TIME>', 'still valid then: neither expired nor revoked')
    .option('--unexpired-at <TIME>', 'within its validity then, revoked or not')
    .option('--revoked', 'revoked since')
    .option('--no-revoked', 'not revoked')
    .option('--from <TIME>', 'recorded at or after: a date, a time, or how long ago')
    .option('--to <TIME>', 'recorded before');
  return pagedCommand(command)
    .addHelpText('after', EXAMPLES)
    .action((flags: SearchFlags, self: Command) =>
      writeList(terminal, ISSUANCES, queryOf(flags, terminal.clock()), flags, self),
    );
}

/** `carnet audit holders`. */
export function holdersCommand(terminal: Terminal): Command {
  const command = operatorCommand('holders')
    .argument('<IDENTITY>', 'SPIFFE ID, or its path')
    .description('show who held an identity at a time, by certificates neither expired nor revoked then')
    .option('--at <TIME>', 'a date, a time, or how long ago (default: now)');
  return pagedCommand(command)
    .addHelpText(
      'after',
      '\nExample: who could have answered as payments at noon?\n  $ carnet audit holders /payments --at 2026-03-10T12:00:00Z --all',
    )
    .action((identity: string, flags: ListFlags & { readonly at?: string }, self: Command) => {
      const now = terminal.clock();
      const at = flags.at === undefined ? new Date(now).toISOString() : parseWhen('--at', flags.at, now);
      return writeList(terminal, HOLDERS, { identity, valid_at: at }, flags, self);
    });
}

function queryOf(flags: SearchFlags, now: number): Record<string, string | undefined> {
  if (flags.instance !== undefined) refuseShortened(flags.instance);
  const timeOf = (flag: string, text: string | undefined): string | undefined =>
    text === undefined ? undefined : parseWhen(flag, text, now);
  return {
    identity: flags.identity,
    identity_prefix: flags.identityPrefix,
    instance: flags.instance,
    serial: flags.serial,
    fingerprint: flags.fingerprint,
    node: flags.node,
    entry: flags.entry,
    rule: flags.rule,
    entry_version: flags.entryVersion,
    authority: flags.authority,
    profile: flags.profile,
    requester: flags.requester,
    valid_at: timeOf('--valid-at', flags.validAt),
    unexpired_at: timeOf('--unexpired-at', flags.unexpiredAt),
    revoked: flags.revoked?.toString(),
    from: timeOf('--from', flags.from),
    to: timeOf('--to', flags.to),
  };
}
