import { spawnSync } from 'node:child_process';

/** Runs the openssl command; `input` goes to its stdin. Throws where there is none. */
export function openssl(
  args: readonly string[],
  input?: string,
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const { error, status, stdout, stderr } = spawnSync('openssl', args, { input, encoding: 'utf8' });
  if (error !== undefined)
    throw new Error('this test needs the openssl command (on Debian: apt install openssl)', { cause: error });
  return { status, stdout, stderr };
}
