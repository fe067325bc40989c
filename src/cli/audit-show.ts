import type { Command } from 'commander';
import type { IssuanceDetailsBody } from '../api/issuances.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { type Terminal, writeFields, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

/** `carnet audit show`. */
export function showCommand(terminal: Terminal): Command {
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
