import { CarnetError } from '../errors.ts';

/** A discovery document has some 3 KiB, a key set of 20 keys 10. */
const MAX_ANSWER_BYTES = 256 * 1024;

/** `fetch`, of which an answer has an end: redirects are not followed, and past the limit it is cut off. */
export async function limitedFetch(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...init, redirect: 'manual' });
  if (response.body === null) return response;
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Ending the loop early ends the download.
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES)
      throw new CarnetError('too_large', `${url} answers with more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  const { status, statusText, headers } = response;
  const mayHaveBody = ![101, 204, 205, 304].includes(status);
  return new Response(mayHaveBody ? Buffer.concat(chunks) : null, { status, statusText, headers });
}
