import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * A structured logger, on stderr by default (stdout is for results): one JSON document a line, or on a
 * terminal one line for a person. Fields that could carry a secret are censored whatever the caller passes.
 */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'token',
          'privateKey',
          'key',
          'authorization',
          'cookie',
          '*.token',
          '*.privateKey',
          '*.authorization',
          '*.cookie',
        ],
        censor: '[secret]',
      },
    },
    destination ?? (process.stderr.isTTY ? forPeople : pino.destination({ dest: 2, sync: true })),
  );
}

/** `12:34:56 warn  what happened  field=value …`. */
const forPeople: DestinationStream = {
  write(line: string): void {
    const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
    const name = pino.levels.labels[Number(level)] ?? String(level);
    const error = (err as { message?: string } | undefined)?.message;
    const rest = Object.entries({ ...fields, ...(error === undefined ? {} : { error }) })
      .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
      .join(' ');
    process.stderr.write(`${String(time).slice(11, 19)} ${name.padEnd(5)} ${msg ?? ''}  ${rest}\n`);
  },
};
