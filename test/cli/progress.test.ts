import { Writable } from 'node:stream';
import test from 'ava';
import { PROCESS_TERMINAL } from '../../src/cli/output.ts';
import { Progress } from '../../src/cli/progress.ts';

function drawn(isTTY: boolean) {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  let now = 0;
  const stderr = Object.assign(stream, { isTTY });
  const progress = new Progress({ ...PROCESS_TERMINAL, stderr }, 'entries', () => now);
  return {
    lines,
    progress,
    showAt: (at: number, done: number, all: number) => {
      now = at;
      progress.show(done, all);
    },
  };
}

test('shows how much is done, how fast, and how long the rest takes; what was done before counts not', (t) => {
  const { lines, progress, showAt } = drawn(true);
  showAt(0, 1000, 4000);
  showAt(50, 1200, 4000);
  showAt(2000, 2000, 4000);
  showAt(2050, 4000, 4000);
  progress.end();
  t.deepEqual(
    lines.map((line) => line.replaceAll('\r', '').replaceAll('\u001b[K', '')),
    [
      '[#######.......................] 1000 of 4000 entries',
      '[###############...............] 2000 of 4000 entries, 500 a second, 4 s left',
      '[##############################] 4000 of 4000 entries, 1463 a second, 0 s left',
      '',
    ],
  );
});

test('writes nothing where nobody watches', (t) => {
  const { lines, progress, showAt } = drawn(false);
  showAt(0, 0, 10);
  showAt(5000, 10, 10);
  progress.end();
  t.deepEqual(lines, []);
});
