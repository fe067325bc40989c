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

/** What the server complained of last, from the byte `offset` of its log on: one line, at most 1000 characters. */
export function lastComplaint(path: string, offset: number): string {
  const fd = openSync(path, 'r');
  try {
    const from = Math.max(offset, (statSync(path).size ?? 0) - 16_384);
    const buffer = Buffer.alloc(16_384);
    const text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, from));
    const lines = text.split('\n').filter((line) => /(?:FATAL|PANIC|HINT|DETAIL|error): /.test(line));
    return lines.join(' | ').slice(-1000) || 'it said nothing';
  } finally {
    closeSync(fd);
  }
}
