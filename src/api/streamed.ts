import type { Readable } from 'node:stream';

/** An answer that is too long to be held: sent as it comes, no faster than it is read. */
export class Streamed {
  readonly stream: Readable;
  readonly mediaType: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(stream: Readable, mediaType: string, headers: Readonly<Record<string, string>> = {}) {
    this.stream = stream;
    this.mediaType = mediaType;
    this.headers = headers;
  }
}
