import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { EvidenceBody } from '../api/log.ts';
import { buildEvidence, checkEvidence } from '../audit/evidence.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, type Terminal } from './output.ts';

interface ProveFlags extends OperatorFlags {
  readonly output?: string;
}

/** `carnet audit prove SERIAL`. */
export function proveCommand(terminal: Terminal): Command {
  return operatorCommand('prove')
    .argument('<SERIAL>', 'serial number, with or without colons')
    .description(
      'write all that shows that one certificate is in the log and which rule of whom granted it, to be checked offline',
    )
    .option('--output <FILE>', 'where to (default: stdout)')
    .addHelpText(
      'after',
      '\nExample:\n  $ carnet audit prove 47e2…23c --output web.json\n  $ carnet audit verify --bundle web.json',
    )
    .action(async (serial: string, flags: ProveFlags) => {
      const logged = await clientOf(flags, terminal).get<EvidenceBody>(
        `/v1/issuances/${encodeURIComponent(serial)}/evidence`,
      );
      const file = flags.output ?? 'FILE';
      const check = `carnet audit verify --bundle ${file} --verifier-key '${logged.verifier_key}'`;
      const bundle = buildEvidence(logged, check);
      // What is handed on must hold.
      checkEvidence(bundle, null);
      const text = `${JSON.stringify(bundle, null, 2)}\n`;
      if (flags.output === undefined) terminal.stdout.write(text);
      else await writeFile(flags.output, text);
      note(terminal, `check it by: ${check}`);
    });
}
