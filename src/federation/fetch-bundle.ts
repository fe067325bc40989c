import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import type { PeerCertificate } from 'node:tls';
import { CarnetError } from '../errors.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { encodePem } from '../x509/pem.ts';
import { MAX_DOCUMENT_BYTES } from './accept-bundle.ts';
import type { Endpoint } from './federation.ts';

/** An endpoint's certificate, which reasons quote, may be long. */
const MAX_REASON_CHARACTERS = 500;

export interface FetchOptions {
  readonly timeoutMs?: number;
  readonly stopping?: AbortSignal;
}

/** From the first packet to the last byte. */
export const FETCH_TIMEOUT_MS = 10_000;

/**
 * The document at a bundle endpoint, once the endpoint is who it should be: by the machine's own CAs and its host
 * name, or by the X.509-SVID that `known`, the last bundle of its trust domain, verifies. It is not judged yet.
 * Redirects are not followed: an operator said whom to trust. Throws `unavailable`, `timeout`, `too_large`,
 * `invalid_argument` for what is not UTF-8, and `shutting_down` once `stopping` aborts.
 */
export async function fetchBundle(
  endpoint: Endpoint,
  known: TrustBundle | null,
  { timeoutMs = FETCH_TIMEOUT_MS, stopping }: FetchOptions = {},
): Promise<string> {
  const late = AbortSignal.timeout(timeoutMs);
  const signal = stopping === undefined ? late : AbortSignal.any([late, stopping]);
  try {
    const response = await answer(endpoint, known, signal);
    try {
      checkAnswer(response);
      return await readText(response);
    } finally {
      response.destroy();
    }
  } catch (error) {
    if (stopping?.aborted) throw failed('shutting_down', endpoint, 'the server is stopping', error);
    if (late.aborted) throw failed('timeout', endpoint, `it did not answer within ${timeoutMs} ms`, error);
    if (error instanceof CarnetError) throw failed(error.code, endpoint, error.message, error);
    throw failed('unavailable', endpoint, (error as Error).message, error);
  }
}

async function answer(
  endpoint: Endpoint,
  known: TrustBundle | null,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const call = request(endpoint.url, {
    agent: false,
    signal,
    headers: { accept: 'application/json', 'accept-encoding': 'identity' },
    ...(endpoint.profile === 'https_spiffe' ? authenticatedBy(endpoint.spiffeId, known) : {}),
  });
  // After the answer has begun, its own stream tells of failures.
  call.on('error', () => undefined);
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return response;
}

/** The server's certificate is an X.509-SVID of this ID (X509-SVID §5): its host name says nothing. */
function authenticatedBy(spiffeId: SpiffeId, known: TrustBundle | null): RequestOptions {
  if (known === null || known.x509Authorities.length === 0)
    throw new CarnetError(
      'unavailable',
      'no bundle is known that could verify it: carnet federation set-bundle',
    );
  return {
    ca: known.x509Authorities.map((der) => encodePem('CERTIFICATE', der)),
    checkServerIdentity: (_host, certificate) => identityFault(certificate, spiffeId),
  };
}

/** Never throws: nobody would catch it, in the middle of a handshake. */
function identityFault({ raw }: PeerCertificate, spiffeId: SpiffeId): Error | undefined {
  try {
    const { subjectAltName, basicConstraints } = parseCertificate(raw);
    const uris = subjectAltName?.value.uris ?? [];
    if (uris.length === 1 && uris[0] === spiffeId && basicConstraints?.value.ca !== true) return undefined;
    return new Error(`its certificate is of ${JSON.stringify(uris.slice(0, 2))}, not of ${spiffeId}`);
  } catch (error) {
    return new Error('its certificate cannot be read', { cause: error });
  }
}

function checkAnswer({ statusCode = 0, headers }: IncomingMessage): void {
  if (statusCode >= 300 && statusCode < 400)
    throw new CarnetError('unavailable', `it redirects (${statusCode}), which is not followed`);
  if (statusCode !== 200) throw new CarnetError('unavailable', `it answers ${statusCode}`);
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new CarnetError('unavailable', 'it answers in an encoding that was not asked for');
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_DOCUMENT_BYTES)
      throw new CarnetError('too_large', `its answer is longer than ${MAX_DOCUMENT_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new CarnetError('invalid_argument', 'its answer is not UTF-8', { cause });
  }
}

function failed(code: CarnetError['code'], { url }: Endpoint, why: string, cause: unknown): CarnetError {
  return new CarnetError(code, `${url}: ${why.slice(0, MAX_REASON_CHARACTERS)}`, { cause });
}
