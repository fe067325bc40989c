import { X509Certificate } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { SdsClient } from '../../src/sds/client.ts';
import { until } from './until.ts';

const RECONNECT_MS = 50;

/** A proxy that streams certificates, opens its stream anew when it ends, and remembers all that it was ever given. */
export class Watcher implements AsyncDisposable {
  /** Serials, as Carnet writes them. */
  readonly seen = new Set<string>();
  /** When each serial was first given to it, and when its certificate ends. */
  readonly times = new Map<string, { readonly arrived: number; readonly ends: number }>();
  /** Private keys that it was given, PKCS#8, PEM. */
  readonly keys = new Set<string>();
  /** The last serial of each name. */
  readonly held = new Map<string, string>();
  /** Streams that it opened so far. */
  streams = 0;
  readonly #client: SdsClient;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;

  constructor(socket: string, names: readonly string[]) {
    this.#client = new SdsClient(socket, `watcher-${process.pid}`);
    this.#ended = this.#run(names);
  }

  /** Waits for another certificate of this name than `serial`; resolves to its serial. */
  other(name: string, serial?: string): Promise<string> {
    return until(`there is another ${name} than ${serial}`, () => {
      const held = this.held.get(name);
      return held === serial ? null : held;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#ended;
    this.#client.close();
  }

  async #run(names: readonly string[]): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.streams++;
      await this.#client.watch(names, (secrets) => this.#take(secrets), signal).catch(() => undefined);
      await pause(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #take(secrets: readonly Secret[]): void {
    for (const { name, type } of secrets) {
      if (type?.$case !== 'tlsCertificate') continue;
      const specifier = type.value.certificateChain?.specifier;
      if (specifier?.$case !== 'inlineBytes') throw new Error('a certificate that is not inline');
      const certificate = new X509Certificate(specifier.value);
      const serial = certificate.serialNumber.toLowerCase().padStart(32, '0');
      if (!this.seen.has(serial))
        this.times.set(serial, { arrived: Date.now(), ends: certificate.validToDate.getTime() });
      const key = type.value.privateKey?.specifier;
      if (key?.$case === 'inlineBytes') this.keys.add(Buffer.from(key.value).toString('utf8'));
      this.seen.add(serial);
      this.held.set(name, serial);
    }
  }
}
