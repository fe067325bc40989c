import { parseWitnessKey, witnessId } from './audit/log/cosignature.ts';
import type { Witness } from './audit/witness.ts';
import { parseDuration } from './duration.ts';
import { CarnetError } from './errors.ts';
import { type Settings, type SettingValues, setting } from './settings.ts';

/** A note with a cosignature of each is read by everybody (C2SP signed-note: at least 16 signatures). */
const MAX_WITNESSES = 15;
/** Two of these, and a witness is late (cli/diagnose-witnesses.ts). */
const MAX_INTERVAL_SECONDS = 60;

/** Who cosigns the log (docs/AUDIT.md). */
export const WITNESS_SETTINGS = {
  witnesses: {
    ...setting<readonly Witness[]>(
      'witness',
      'VKEY URL',
      'a witness that cosigns the log: its verifier key, a space and its URL (C2SP tlog-witness); may be given several times',
      witnessesOf,
      [],
      'none',
    ),
    repeatable: true,
  },
  witnessQuorum: setting<number | null>(
    'witness-quorum',
    'N',
    'how many witnesses cosign a checkpoint before it is published; 0 publishes each at once',
    countOf,
    null,
    '1 with --witness',
  ),
  witnessInterval: setting(
    'witness-interval',
    'DURATION',
    'how often witnesses are asked to cosign the latest checkpoint',
    intervalOf,
    5,
    '5s',
  ),
} as const satisfies Settings;

export type WitnessConfig = SettingValues<typeof WITNESS_SETTINGS>;

/** The quorum that is meant where none is given. */
export function quorumOf({ witnesses, witnessQuorum }: WitnessConfig): number {
  return witnessQuorum ?? Math.min(1, witnesses.length);
}

/** Refuses settings that nothing would heed, and a quorum that cannot be met. Throws `config_invalid`. */
export function checkWitnessSettings({ witnesses, witnessQuorum }: WitnessConfig): void {
  if (witnessQuorum !== null && witnessQuorum > witnesses.length)
    throw new CarnetError(
      'config_invalid',
      `--witness-quorum ${witnessQuorum} needs as many witnesses, and there are ${witnesses.length}: give --witness for each`,
    );
}

/** Each on a line, or with commas between. */
function witnessesOf(value: string): Witness[] {
  const witnesses = value
    .split(/[\n,]/)
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map(witnessOf);
  if (new Set(witnesses.map(({ key }) => Buffer.from(key.publicKey).toString('hex'))).size < witnesses.length)
    throw new CarnetError('config_invalid', 'two witnesses have the same key: one of them would count twice');
  if (witnesses.length > MAX_WITNESSES)
    throw new CarnetError('config_invalid', `there are ${witnesses.length}, at most ${MAX_WITNESSES} can be`);
  return witnesses;
}

function witnessOf(text: string): Witness {
  const [vkey = '', url = '', ...rest] = text.split(/\s+/);
  if (url === '' || rest.length > 0)
    throw new CarnetError('config_invalid', 'a witness is a verifier key, a space and a URL');
  const key = parseWitnessKey(vkey);
  return { id: witnessId(key), key, url: prefixOf(url) };
}

/** The submission prefix, without a slash at its end. It may stand in logs, and so has no password; one that is given is not repeated. */
function prefixOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isPlain =
    url !== null && ['http:', 'https:'].includes(url.protocol) && url.username === '' && url.password === '';
  if (!isPlain || /[?#]/.test(value))
    throw new CarnetError(
      'config_invalid',
      'that is not where a witness can be: write https://HOST[:PORT][/PATH], without a user or a password',
    );
  return url.href.replace(/\/+$/, '');
}

function countOf(value: string): number {
  if (!/^\d{1,2}$/.test(value))
    throw new CarnetError('config_invalid', `${JSON.stringify(value)} is not a number of witnesses`);
  return Number(value);
}

function intervalOf(value: string): number {
  const seconds = parseDuration(value);
  if (seconds < 1 || seconds > MAX_INTERVAL_SECONDS)
    throw new CarnetError('config_invalid', `${value} is not from 1s to 1m`);
  return seconds;
}
