import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { UpstreamImportedBody, UpstreamRequestBody } from '../api/upstream.ts';
import { CarnetError } from '../errors.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, type Terminal, writeJson, writeLine } from './output.ts';

interface CsrFlags extends OperatorFlags {
  readonly out?: string;
}

interface ImportFlags extends OperatorFlags {
  readonly certificate: string;
  readonly stepByStep?: boolean;
  readonly hold?: string;
  readonly reason?: string;
}

/** `carnet root csr`. */
export function csrCommand(terminal: Terminal): Command {
  return operatorCommand('csr')
    .description('print a request for an outside CA to sign our issuing CA, so that the root key is not ours')
    .option('--out <FILE>', 'write it there')
    .addHelpText(
      'after',
      `
The key is made by the server and stays with it. Asked again, it is the same request, until its answer is imported.
The certificate must be of a CA that may sign certificates and CRLs, and have the URI name that the request has.

Example:
  $ carnet root csr --out carnet.csr
  $ openssl x509 -req -in carnet.csr -copy_extensions copyall -days 365 -CA root.pem -CAkey root.key -out issuing.pem
  $ cat issuing.pem root.pem > chain.pem
  $ carnet root import --certificate chain.pem`,
    )
    .action(async (flags: CsrFlags) => {
      const { request } = await clientOf(flags, terminal).post<UpstreamRequestBody>(
        '/v1/upstream/request',
        {},
      );
      if (flags.out !== undefined) await writeFile(flags.out, request);
      if (flags.json === true) writeJson(terminal, { request });
      else if (flags.out === undefined) terminal.stdout.write(request);
    });
}

/** `carnet root import`. */
export function importCommand(terminal: Terminal): Command {
  return operatorCommand('import')
    .description("take an outside CA's answer, and rotate the live fleet to it")
    .requiredOption(
      '--certificate <FILE>',
      'PEM: our certificate first, its issuers behind it, the self-signed root last',
    )
    .option('--step-by-step', 'each step of the rotation waits for its command')
    .option('--hold <DURATION>', 'wait this long for consumers that cannot acknowledge')
    .option('--reason <TEXT>', 'why; goes on record')
    .addHelpText(
      'after',
      '\nThe whole chain is checked first.\n\nExample:\n  $ carnet root import --certificate chain.pem',
    )
    .action(async (flags: ImportFlags) => {
      const certificates = await readFile(flags.certificate, 'utf8').catch((cause: unknown) => {
        throw new CarnetError('invalid_argument', `${flags.certificate} cannot be read`, { cause });
      });
      const imported = await clientOf(flags, terminal).post<UpstreamImportedBody>('/v1/upstream/import', {
        certificates,
        hands_free: flags.stepByStep !== true,
        ...(flags.hold === undefined ? {} : { hold: flags.hold }),
        ...(flags.reason === undefined ? {} : { reason: flags.reason }),
      });
      if (flags.json === true) writeJson(terminal, imported);
      else writeLine(terminal, imported.authority);
      note(terminal, 'the rotation to it has begun: see carnet root status');
    });
}
