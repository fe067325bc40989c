/** The wall clock: milliseconds since the Unix epoch. Passed as an argument, never read from the side. */
export type Clock = () => number;

export const systemClock: Clock = Date.now;
