import { closeSync, copyFileSync, openSync, readSync, statSync, truncateSync } from 'node:fs';

/** The server's log is cut when it has grown past this; one earlier part is kept beside it. */
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/**
 * Bounds the log: what is there moves to `<path>.1` once it is too long. PostgreSQL appends (O_APPEND), so a
 * file that is cut under it goes on from its new end.
 */
export function boundLog(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= MAX_LOG_BYTES) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path);
}

const TAIL_BYTES = 4096;
const TAIL_LINES = 4;

/** The last lines that the server wrote from the byte `offset` of its log on, without their times, as one line. */
export function lastWords(path: string, offset: number): string {
  const fd = openSync(path, 'r');
  try {
    const from = Math.max(offset, statSync(path).size - TAIL_BYTES);
    const buffer = Buffer.alloc(TAIL_BYTES);
    const text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, from));
    const lines = text.split('\n').filter((line) => line !== '');
    const words = lines.slice(-TAIL_LINES).map((line) => line.replace(/^\S+ \S+ \S+ \[\d+\] /, ''));
    return words.join(' | ') || 'it said nothing';
  } finally {
    closeSync(fd);
  }
}
