import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { IssuanceDetailsBody } from '../api/issuances.ts';
import type { LogBody } from '../api/log.ts';
import { checkEvidence, type EvidenceBundle } from '../audit/evidence.ts';
import { CarnetError } from '../errors.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, type Terminal } from './output.ts';

interface ProveFlags extends OperatorFlags {
  readonly output?: string;
}

/** `carnet audit prove SERIAL`. */
export function proveCommand(terminal: Terminal): Command {
  return operatorCommand('prove')
    .argument('<SERIAL>', 'serial number, with or without colons')
    .description('write all that shows that one certificate is in the log, to be checked without a server')
    .option('--output <FILE>', 'where to (default: stdout)')
    .addHelpText(
      'after',
      '\nExample:\n  $ carnet audit prove 47e2…23c --output web.json\n  $ carnet audit verify --bundle web.json',
    )
    .action(async (serial: string, flags: ProveFlags) => {
      const client = clientOf(flags, terminal);
      const { log, ...issuance } = await client.get<IssuanceDetailsBody>(
        `/v1/issuances/${encodeURIComponent(serial)}`,
      );
      if (log === null)
        throw new CarnetError(
          'unavailable',
          `${issuance.serial} is not in the log yet: try again in a second`,
        );
      const { verifier_key } = await client.get<LogBody>('/v1/log');
      const bundle: EvidenceBundle = {
        format: 'carnet-evidence-1',
        issuance,
        log: { verifier_key, ...log },
        check: `carnet audit verify --bundle ${flags.output ?? 'FILE'} --verifier-key '${verifier_key}'`,
      };
      // What is handed on must hold.
      checkEvidence(bundle, null);
      const text = `${JSON.stringify(bundle, null, 2)}\n`;
      if (flags.output === undefined) terminal.stdout.write(text);
      else await writeFile(flags.output, text);
      note(terminal, `check it by: ${bundle.check}`);
    });
}
