import { availableParallelism, cpus, loadavg, release } from 'node:os';

/** The middle one; of an even count the upper of the two. NaN of nothing. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The smallest value that at least this share (0 to 1) of all values doesn't exceed. NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** A line that says on what the figures were measured, and what else went on there when this is called. */
export function machine(): string {
  const model = `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown CPU'}`;
  const load = loadavg()[0]?.toFixed(1);
  return `${model}, Linux ${release()}, Node ${process.versions.node}, load average ${load}`;
}

/** Columns in which the first is text, to the left, and the others are to the right. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const cells = [header, ...rows].map((row) =>
    row.map((cell) => (typeof cell === 'number' ? formatNumber(cell) : cell)),
  );
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0);
  return cells.map((row) => `${row.map(pad).join('   ').trimEnd()}\n`).join('');
}

/** Three digits that count, none behind the point from 100 on. */
function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 1 : 2);
}
