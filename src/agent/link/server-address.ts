/** Where a server's gRPC can be reached. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, and `[address]:port` for IPv6. */
export function formatServer({ host, port }: ServerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
