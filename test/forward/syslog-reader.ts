/** RFC 5424 §6, read by the letter. */
const MESSAGE =
  /^(<\d{1,3}>1 (?:-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) [!-~]{1,255} [!-~]{1,48} [!-~]{1,128} [!-~]{1,32}) \[([!-~]{1,32})((?: [!-<>-Z\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] (.*)$/s;

export interface SyslogMessage {
  readonly header: string;
  readonly data: Readonly<Record<string, string>>;
  readonly message: string;
}

/** Throws for whatever is not one message with one element of structured data. */
export function parseMessage(text: string): SyslogMessage {
  const [, header, id, parameters, message] = MESSAGE.exec(text) ?? [];
  if (header === undefined || id !== 'carnet@32473' || parameters === undefined || message === undefined)
    throw new Error(`no message of RFC 5424: ${text.slice(0, 200)}`);
  const pairs = [...parameters.matchAll(/ ([^=]+)="((?:[^"\\\]]|\\.)*)"/gs)];
  const data = Object.fromEntries(
    pairs.map(([, name = '', value = '']) => [name, value.replace(/\\(.)/g, '$1')]),
  );
  return { header, data, message };
}

/** Cuts what comes over a connection into its frames (RFC 5425 §4.3). Throws for a length that is none. */
export class FrameReader {
  #rest = '';

  read(chunk: Buffer): string[] {
    this.#rest += chunk.toString('latin1');
    const messages: string[] = [];
    for (;;) {
      const [head, digits] = /^([1-9]\d*) /.exec(this.#rest) ?? [];
      if (head === undefined || digits === undefined) {
        if (!/^(?:[1-9]\d{0,5})?$/.test(this.#rest)) throw new Error(`no frame: ${this.#rest.slice(0, 50)}`);
        return messages;
      }
      const end = head.length + Number(digits);
      if (this.#rest.length < end) return messages;
      messages.push(this.#rest.slice(head.length, end));
      this.#rest = this.#rest.slice(end);
    }
  }

  /** Whether it ended between two messages. */
  get isWhole(): boolean {
    return this.#rest === '';
  }
}
