import type { IncomingHttpHeaders } from 'node:http';
import { CarnetError } from '../errors.ts';
import { isLoopback } from './local-host.ts';

/** What a browser is to be served under, and by that what its cookies are. */
export class OwnOrigin {
  readonly #webUrl: URL | null;

  /** `webUrl` is where browsers reach the server, https; null for this machine's own addresses, over plain HTTP. */
  constructor(webUrl: string | null) {
    this.#webUrl = webUrl === null ? null : new URL(webUrl);
  }

  /** By the browser over an encrypted connection only. */
  get isSecure(): boolean {
    return this.#webUrl?.protocol === 'https:';
  }

  /** A URL of ours. Throws `not_found` where no setting says what browsers know us by. */
  urlOf(path: string): string {
    if (this.#webUrl !== null) return `${this.#webUrl.origin}${path}`;
    throw new CarnetError(
      'not_found',
      'the server does not know where browsers reach it: it has no --web-url',
    );
  }

  /** Whether the Host header names what the setting says. */
  isNamed(host: string | undefined): boolean {
    return host !== undefined && host.toLowerCase() === this.#webUrl?.host;
  }

  /**
   * Throws `permission_denied` where a session would cross the network in plain text, or a name that isn't ours
   * (DNS rebinding): its cookie could be read on the way, or by whoever has that name.
   */
  checkHost(host: string | undefined): void {
    if (this.isNamed(host) || isLoopbackHost(host)) return;
    throw new CarnetError(
      'permission_denied',
      `there are no sessions at the host ${JSON.stringify(host ?? '')}: come by https to the host of --web-url, or to 127.0.0.1`,
    );
  }

  /**
   * Throws `permission_denied` for a request that another site's page sends with our cookie. Every browser says
   * where an unsafe request comes from (Origin, Fetch standard §3.1); newer ones say it of all (Fetch Metadata).
   */
  checkSource(headers: IncomingHttpHeaders, isUnsafe: boolean): void {
    this.checkHost(headers.host);
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && (isUnsafe || site !== 'none'))
      throw foreign(`a page of another site (Sec-Fetch-Site: ${String(site).slice(0, 40)})`);
    const { origin } = headers;
    if (origin === undefined ? isUnsafe : !this.#isOwn(origin, headers.host))
      throw foreign(`the origin ${JSON.stringify(origin?.slice(0, 200) ?? 'none')}`);
  }

  #isOwn(origin: string, host: string | undefined): boolean {
    if (this.#webUrl !== null && origin === this.#webUrl.origin) return true;
    return isLoopbackHost(host) && origin === `http://${host?.toLowerCase()}`;
  }
}

/** `localhost`, 127.0.0.0/8 or [::1], with any port. */
function isLoopbackHost(host: string | undefined): boolean {
  if (host === undefined) return false;
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return isLoopback(name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name);
}

function foreign(what: string): CarnetError {
  return new CarnetError(
    'permission_denied',
    `a session can't be used by ${what}: only our own pages may, or send a token as "Authorization: Bearer"`,
  );
}
