import { createApi } from '../api/create-api.ts';
import { type HttpServer, serveHttp } from '../api/http-server.ts';
import { isLoopback } from '../api/local-host.ts';
import type { ServerConfig } from '../config.ts';
import { CarnetError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { formatAddress } from '../setting-values.ts';

type HttpParts = Omit<
  Parameters<typeof createApi>[0],
  'trustDomain' | 'log' | 'loopback' | 'webUrl' | 'recordEvidenceReads' | 'roleIdentities'
>;

/** The REST API as it is served on `--http-addr`, for other listeners too. */
interface ListeningHttp extends HttpServer {
  readonly app: Parameters<typeof serveHttp>[0];
}

/** Serves the REST API on `--http-addr`. Throws `config_invalid` where that can't be had. */
export async function listenHttp(
  config: ServerConfig,
  log: Logger,
  parts: HttpParts,
): Promise<ListeningHttp> {
  const { trustDomain, httpAddr, webUrl, recordEvidenceReads } = config;
  const app = createApi({
    ...parts,
    trustDomain,
    log,
    loopback: isLoopback(httpAddr.host),
    webUrl,
    recordEvidenceReads,
    roleIdentities: config.identityRole.map(({ spiffeId }) => spiffeId),
  });
  try {
    return { ...(await serveHttp(app, httpAddr, log)), app };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'something listens there already' : String(code);
    throw new CarnetError(
      'config_invalid',
      `--http-addr ${formatAddress(httpAddr)} can't be had: ${why}; give another`,
      { cause: error },
    );
  }
}
