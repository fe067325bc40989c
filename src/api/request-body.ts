import type { IncomingMessage } from 'node:http';
import { CarnetError } from '../errors.ts';

/**
 * Reads a request's body as JSON (RFC 8259, UTF-8). Throws `too_large` past `maxBytes`, of which no more is
 * kept, and `invalid_argument` for another media type, an encoding, or text that isn't JSON.
 */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1).join('').trim().toLowerCase();
  if (mediaType !== 'application/json')
    throw invalid(
      `the body must be JSON: send it with "Content-Type: application/json", not ${quoted(mediaType)}`,
    );
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') throw invalid(`the body must be sent as it is, not ${quoted(encoding)}`);
  const bytes = await readBytes(request, maxBytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(`the body is not JSON in UTF-8: ${error instanceof Error ? error.message : error}`);
  }
}

async function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    // Ending the loop must not end the connection: the answer still has to go out on it.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      size += chunk.length;
      if (size > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CarnetError) throw error;
    throw new CarnetError('invalid_argument', 'the connection ended before the body did', { cause: error });
  }
  return Buffer.concat(chunks);
}

function tooLarge(maxBytes: number): CarnetError {
  return new CarnetError('too_large', `the body is larger than ${maxBytes} bytes: send less at once`);
}

function invalid(message: string): CarnetError {
  return new CarnetError('invalid_argument', message);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
