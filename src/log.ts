import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * A structured logger that writes one JSON document a line to `destination` (stderr by default: stdout is
 * for results). Fields that could carry a secret are censored whatever the caller passes.
 */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: ['token', 'privateKey', 'key', 'authorization', '*.token', '*.privateKey', '*.authorization'],
        censor: '[secret]',
      },
    },
    destination ?? pino.destination({ dest: 2, sync: true }),
  );
}
