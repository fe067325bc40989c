import { CarnetError } from '../errors.ts';

/** What {@link shortInstance} leaves of a container or process: no instance has such a name. */
const SHORTENED = /^(?:process:\d+|container:[0-9a-f]{12})$/;

/** As far as a person tells containers and processes apart; `audit show` and `--json` have the whole. */
export function shortInstance(instance: string | null): string {
  const [kind, ...rest] = (instance ?? '-').split(':');
  if (kind === 'container') return `container:${rest.join(':').slice(0, 12)}`;
  return kind === 'process' ? `process:${rest[1] ?? ''}` : (instance ?? '-');
}

/** Throws `config_invalid` for an instance as the table of `audit search` shortens it: that would fit nothing. */
export function refuseShortened(instance: string): void {
  if (SHORTENED.test(instance))
    throw new CarnetError(
      'config_invalid',
      `--instance ${instance}: give the whole of it, as carnet audit show SERIAL and carnet proxies print it`,
    );
}
