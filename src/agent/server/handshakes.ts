import type { Socket } from 'node:net';
import { callerOf } from '../../api/rate-limit.ts';

/** Connections of which the handshake isn't over, so that one address doesn't take all by saying nothing. */
export class Handshakes {
  readonly #ofOneAddress: number;
  readonly #counts = new Map<string, number>();
  /** The addresses of those that are counted, by their ends. */
  readonly #open = new Map<string, string>();

  constructor(ofOneAddress: number) {
    this.#ofOneAddress = ofOneAddress;
  }

  /** Counts a connection until its handshake or itself has ended. False for one too many of its address. */
  begin(socket: Socket): boolean {
    const [end, caller] = [endOf(socket), callerOf(socket.remoteAddress ?? '')];
    const count = this.#counts.get(caller) ?? 0;
    if (count >= this.#ofOneAddress) return false;
    this.#counts.set(caller, count + 1);
    this.#open.set(end, caller);
    socket.once('close', () => this.#end(end));
    return true;
  }

  /** The handshake of a connection is over. */
  over(socket: Socket): void {
    this.#end(endOf(socket));
  }

  #end(end: string): void {
    const caller = this.#open.get(end);
    if (caller === undefined) return;
    this.#open.delete(end);
    const rest = (this.#counts.get(caller) ?? 1) - 1;
    if (rest === 0) this.#counts.delete(caller);
    else this.#counts.set(caller, rest);
  }
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
