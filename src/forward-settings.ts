import { CarnetError } from './errors.ts';
import type { ForwardFrom } from './forward/store.ts';
import { type Address, oneOf, oneOfHelp, pathOf } from './setting-values.ts';
import { type Settings, type SettingValues, setting } from './settings.ts';

const FORWARD_FROM = ['start', 'now'] as const satisfies readonly ForwardFrom[];
/** RFC 5425 §4.1. */
const SYSLOG_PORT = 6514;

const path = (flag: string, help: string) => setting<string | null>(flag, 'PATH', help, pathOf, null);

/** Settings of the sinks that the log is forwarded to: one of each kind. */
export const FORWARD_SETTINGS = {
  forwardFrom: setting<ForwardFrom>(
    'forward-from',
    'WHERE',
    oneOfHelp('where in the log a new sink begins', FORWARD_FROM),
    (value) => oneOf(FORWARD_FROM, value),
    'start',
  ),
  forwardSyslog: setting<Address | null>(
    'forward-syslog',
    'URL',
    'a syslog receiver that is sent every entry of the log, by RFC 5425: tls://HOST[:PORT]',
    syslogOf,
    null,
  ),
  forwardSyslogCaFile: path(
    'forward-syslog-ca-file',
    "CAs of the syslog receiver's certificate, PEM (default: the public ones)",
  ),
  forwardSyslogCertFile: path('forward-syslog-cert-file', 'our certificate to it, PEM'),
  forwardSyslogKeyFile: path('forward-syslog-key-file', 'the private key of that, PEM'),
  forwardWebhook: setting<URL | null>(
    'forward-webhook',
    'URL',
    'where every entry of the log is posted to: https://…',
    webhookOf,
    null,
  ),
  forwardWebhookSecretFile: path(
    'forward-webhook-secret-file',
    'the secret that signs what is posted; at least 32 characters',
  ),
  forwardWebhookCaFile: path(
    'forward-webhook-ca-file',
    "CAs of the webhook's certificate, PEM (default: the public ones)",
  ),
  forwardWebhookCertFile: path('forward-webhook-cert-file', 'our certificate to it, PEM'),
  forwardWebhookKeyFile: path('forward-webhook-key-file', 'the private key of that, PEM'),
} as const satisfies Settings;

export type ForwardConfig = SettingValues<typeof FORWARD_SETTINGS>;

/** Refuses settings that nothing would heed, and a webhook that anybody could write to. Throws `config_invalid`. */
export function checkForward(config: ForwardConfig): void {
  const { forwardWebhook: webhook, forwardWebhookSecretFile: secret, forwardSyslog: syslog } = config;
  checkTogether('--forward-webhook', '--forward-webhook-secret-file', webhook, secret);
  const {
    forwardWebhookCaFile,
    forwardWebhookCertFile,
    forwardWebhookKeyFile,
    forwardSyslogCaFile,
    forwardSyslogCertFile,
    forwardSyslogKeyFile,
  } = config;
  checkFiles('webhook', webhook, [forwardWebhookCaFile, forwardWebhookCertFile, forwardWebhookKeyFile]);
  checkFiles('syslog', syslog, [forwardSyslogCaFile, forwardSyslogCertFile, forwardSyslogKeyFile]);
}

function checkFiles(
  sink: string,
  target: unknown,
  [ca, cert, key]: readonly [string | null, string | null, string | null],
): void {
  if (target === null && [ca, cert, key].some((file) => file !== null))
    throw new CarnetError('config_invalid', `--forward-${sink}-*-file needs --forward-${sink}`);
  checkTogether(`--forward-${sink}-cert-file`, `--forward-${sink}-key-file`, cert, key);
}

function checkTogether(oneName: string, otherName: string, one: unknown, other: unknown): void {
  if ((one === null) !== (other === null))
    throw new CarnetError('config_invalid', `${oneName} and ${otherName} need each other`);
}

/** The value may hold a password, though none has a use: it is not repeated. */
function syslogOf(value: string): Address {
  const match = /^tls:\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(value);
  const [host, port] = [match?.[1] ?? match?.[2], Number(match?.[3] ?? SYSLOG_PORT)];
  if (host === undefined || port === 0 || port > 65_535)
    throw new CarnetError('config_invalid', 'it is no syslog receiver: write tls://HOST or tls://HOST:PORT');
  return { host, port };
}

/** The value may hold a secret: it is never repeated. */
function webhookOf(value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isLocal = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  const isPlain = url?.username === '' && url.password === '' && url.hash === '';
  if (url !== null && isPlain && (url.protocol === 'https:' || isLocal)) return url;
  throw new CarnetError(
    'config_invalid',
    'it is no webhook: write https://HOST/PATH, without a user or a password (http:// on this machine only)',
  );
}
