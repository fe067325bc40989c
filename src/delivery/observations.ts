import type { Clock } from '../clock.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { OBSERVATION_MS } from '../rotation/gate.ts';
import { toHex } from '../x509/bytes.ts';
import { parseCertificate } from '../x509/certificate.ts';
import type { Holder } from './holdings.ts';
import { type Expected, isInUse, serialText, type TlsContext } from './in-use.ts';
import type { StreamObserver } from './observer.ts';

/** A proxy whose admin interface is known: the process that connected, and what it says of itself. */
export interface AdministeredProxy {
  readonly pid: number;
  /** As the proxy wrote it. */
  readonly address: string;
}

export interface ObservationsOptions {
  readonly clock: Clock;
  /** What the proxy uses now; rejects where that can't be had, in bounded time. */
  readonly look: (proxy: AdministeredProxy) => Promise<readonly TlsContext[]>;
  readonly limits?: Partial<ObservationLimits>;
}

export interface ObservationLimits {
  /** Looks at one time. */
  readonly concurrency: number;
  /** Looks after an acknowledgement, until it is given up. */
  readonly tries: number;
  /** From the first look to the second; doubled from then on, up to a second. */
  readonly delayMs: number;
}

/** Thirteen tries take 9 s, if each is answered at once. */
const DEFAULT_LIMITS: ObservationLimits = { concurrency: 4, tries: 13, delayMs: 50 };
const MAX_DELAY_MS = 1_000;
/** As Envoys ask for the bundle of their own trust domain, also beside others; or by that trust domain's ID. */
const OWN_BUNDLES: ReadonlySet<string> = new Set(['ROOTCA', 'ALL']);

/** What a stream acknowledged of one resource and is not seen to use yet. */
interface Missing {
  readonly version: string;
  readonly expected: Expected;
}

interface Watched {
  readonly inner: StreamObserver;
  /** What was sent last, by the resource's name. */
  readonly sent: Map<string, Missing>;
  readonly missing: Map<string, Missing>;
}

interface Proxy extends AdministeredProxy {
  readonly streams: Set<Watched>;
  /** Since the last acknowledgement. */
  tries: number;
  timer: NodeJS.Timeout | null;
  waiting: boolean;
  looking: boolean;
  /** It was given up: from then on one look follows an acknowledgement, and nobody waits for it. */
  isBlind: boolean;
}

/**
 * Looks whether proxies use what they acknowledged. A look follows each acknowledgement, and others until all of it is
 * seen, or it is given up. Nothing is held up by a proxy that never shows it: who waits is told until when, and after
 * it was given up once nobody waits any more.
 */
export class Observations {
  readonly #options: ObservationsOptions;
  readonly #limits: ObservationLimits;
  /** Those with a stream. */
  readonly #proxies = new Map<string, Proxy>();
  readonly #queue: Proxy[] = [];
  #underWay = 0;
  #closed = false;

  constructor(options: ObservationsOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /** Passes everything on to `inner`, and tells it what is observed of the process that has the stream open. */
  watch(pid: number, holder: Holder, inner: StreamObserver): StreamObserver {
    const watched: Watched = { inner, sent: new Map(), missing: new Map() };
    let proxy: Proxy | null = null;
    return {
      ...inner,
      named: (node) => {
        inner.named(node);
        if (node.adminAddress != null) proxy = this.#join(watched, { pid, address: node.adminAddress });
      },
      sent: (name, version, expiresAt) => {
        inner.sent(name, version, expiresAt);
        const expected = proxy && expectedOf(holder, name, version);
        if (expected !== null) watched.sent.set(name, { version, expected });
      },
      acknowledged: (name, version) => {
        inner.acknowledged(name, version);
        const last = watched.sent.get(name);
        if (proxy === null || last?.version !== version) return;
        watched.missing.set(name, last);
        this.#begin(proxy);
      },
      dropped: (name) => {
        inner.dropped(name);
        watched.sent.delete(name);
        watched.missing.delete(name);
      },
      closed: () => {
        inner.closed();
        if (proxy !== null) this.#leave(watched, proxy);
      },
    };
  }

  /** No more looks begin. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    for (const { timer } of this.#proxies.values()) if (timer !== null) clearTimeout(timer);
  }

  #join(watched: Watched, { pid, address }: AdministeredProxy): Proxy {
    const key = keyOf({ pid, address });
    const proxy = this.#proxies.get(key) ?? {
      ...{ pid, address, streams: new Set<Watched>() },
      ...{ tries: 0, timer: null, waiting: false, looking: false, isBlind: false },
    };
    this.#proxies.set(key, proxy);
    proxy.streams.add(watched);
    return proxy;
  }

  #leave(watched: Watched, proxy: Proxy): void {
    watched.missing.clear();
    proxy.streams.delete(watched);
    if (proxy.streams.size > 0) return;
    if (proxy.timer !== null) clearTimeout(proxy.timer);
    this.#proxies.delete(keyOf(proxy));
  }

  #begin(proxy: Proxy): void {
    // A look that is under way may have begun before: it is none of these.
    proxy.tries = proxy.looking ? -1 : 0;
    this.#tell(proxy, proxy.isBlind ? null : this.#options.clock() + OBSERVATION_MS);
    if (proxy.timer !== null) clearTimeout(proxy.timer);
    proxy.timer = null;
    this.#enqueue(proxy);
  }

  #enqueue(proxy: Proxy): void {
    if (this.#closed || proxy.waiting || proxy.looking) return;
    proxy.waiting = true;
    this.#queue.push(proxy);
    this.#next();
  }

  #next(): void {
    while (this.#underWay < this.#limits.concurrency) {
      const proxy = this.#queue.shift();
      if (proxy === undefined) return;
      proxy.waiting = false;
      if (missingOf(proxy) > 0) void this.#look(proxy);
    }
  }

  async #look(proxy: Proxy): Promise<void> {
    this.#underWay++;
    proxy.looking = true;
    const contexts = await this.#options.look(proxy).catch(() => []);
    proxy.looking = false;
    this.#underWay--;
    for (const watched of proxy.streams) note(watched, contexts);
    this.#conclude(proxy);
    this.#next();
  }

  #conclude(proxy: Proxy): void {
    if (missingOf(proxy) === 0) {
      proxy.isBlind = false;
      this.#tell(proxy, null);
    } else if (++proxy.tries < (proxy.isBlind ? 1 : this.#limits.tries)) this.#again(proxy);
    else {
      proxy.isBlind = true;
      for (const { missing } of proxy.streams) missing.clear();
      this.#tell(proxy, null);
    }
  }

  #again(proxy: Proxy): void {
    if (this.#closed) return;
    const delayMs = Math.min(MAX_DELAY_MS, this.#limits.delayMs * 2 ** Math.max(0, proxy.tries - 1));
    proxy.timer = setTimeout(() => {
      proxy.timer = null;
      this.#enqueue(proxy);
    }, delayMs).unref();
  }

  /** Only of streams for which something is missing is anything waited for. */
  #tell(proxy: Proxy, until: number | null): void {
    for (const { inner, missing } of proxy.streams) inner.observing(missing.size === 0 ? null : until);
  }
}

function note({ inner, missing }: Watched, contexts: readonly TlsContext[]): void {
  for (const [name, { version, expected }] of missing)
    if (isInUse(expected, contexts)) {
      missing.delete(name);
      inner.observed(name, version);
    }
}

function missingOf({ streams }: Proxy): number {
  let count = 0;
  for (const { missing } of streams) count += missing.size;
  return count;
}

/** What `holder` holds under this version now, as it was just sent; null for what says nothing of our own trust domain. */
function expectedOf(holder: Holder, name: string, version: string): Expected | null {
  const { svids, bundle, federated } = holder.current();
  const svid = svids.find(({ serial }) => serial === version);
  if (svid !== undefined) return { kind: 'leaf', identity: svid.identity, serial: serialText(svid.serial) };
  const trustDomainId = `spiffe://${bundle.trustDomain}`;
  if (!OWN_BUNDLES.has(name) && name !== trustDomainId) return null;
  const foreign = new Set(federated.flatMap((one) => [...serialsOf(one)]));
  return { kind: 'bundle', trustDomainId, serials: serialsOf(bundle), foreign };
}

const serials = new WeakMap<TrustBundle, ReadonlySet<string>>();

/** Of its roots: read once for all proxies. */
function serialsOf(bundle: TrustBundle): ReadonlySet<string> {
  const known = serials.get(bundle);
  if (known !== undefined) return known;
  const found = new Set(bundle.x509Authorities.map((der) => serialText(toHex(parseCertificate(der).serial))));
  serials.set(bundle, found);
  return found;
}

function keyOf({ pid, address }: AdministeredProxy): string {
  return `${pid} ${address}`;
}
