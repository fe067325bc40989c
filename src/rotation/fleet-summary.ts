/** How much of the fleet has what was published last: consumers that take their trust from us, of all nodes. */
export interface FleetSummary {
  /** Of the bundle that was published last; 0 before the first. */
  readonly bundleSequence: number;
  readonly connected: number;
  /** Without a stream, and may still present what they hold. */
  readonly away: number;
  /** Connected, and have not acknowledged that bundle (or were not sent it, where they can't acknowledge). */
  readonly behind: number;
  /** Connected, and have refused something since. */
  readonly refusing: number;
}
