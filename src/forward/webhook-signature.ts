import { createHmac } from 'node:crypto';

/**
 * The `Carnet-Signature` of a body that is sent at `timestamp`, in seconds since the epoch: HMAC-SHA-256 under the shared
 * secret of the timestamp in decimal, a full stop, and the body; in hex, behind the version of this rule.
 */
export function signWebhook(secret: string, timestamp: number, body: Uint8Array): string {
  return `v1=${createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex')}`;
}
