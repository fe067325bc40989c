/**
 * Whether the authority that signed the agent's own certificate is superseded. The certificate doesn't say which one that
 * was; but none that was superseded already when it was renewed.
 */
export class OwnIssuer {
  readonly #told: () => Iterable<string>;
  #before: ReadonlySet<string> = new Set();

  /** `told` gives the superseded authorities, as the servers told last. */
  constructor(told: () => Iterable<string>) {
    this.#told = told;
  }

  /** True too after an attestation, once, where authorities were superseded before it. */
  isSuperseded(): boolean {
    return [...this.#told()].some((authority) => !this.#before.has(authority));
  }

  /** Runs a renewal. What is superseded while it runs may have signed it. */
  async renew(renewal: () => Promise<void>): Promise<void> {
    const before = new Set(this.#told());
    await renewal();
    this.#before = before;
  }
}
