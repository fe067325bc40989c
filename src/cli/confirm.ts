import { createInterface } from 'node:readline/promises';
import { CarnetError } from '../errors.ts';
import { note, type Terminal } from './output.ts';

/**
 * Says what is about to happen, and asks, unless `yes` was given. Throws `conflict` when nobody can be asked, or the
 * answer is no.
 */
export async function confirm(terminal: Terminal, yes: boolean | undefined, what: string): Promise<void> {
  note(terminal, what);
  if (yes === true) return;
  if (terminal.stdin.isTTY !== true)
    throw new CarnetError('conflict', 'nothing was changed: give --yes to do it');
  const prompt = createInterface({ input: terminal.stdin, output: terminal.stderr });
  const answer = await prompt.question('Go on? [y/N] ').finally(() => prompt.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new CarnetError('conflict', 'nothing was changed');
}
