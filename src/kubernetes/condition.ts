const MAX_MESSAGE_CHARACTERS = 2_000;

/** A condition of a request's status. `reason` is one of our codes or words: letters, digits and underscores. */
export function conditionOf(type: string, reason: string, message: string, now: number) {
  const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    type,
    status: 'True',
    reason: reason.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    message: message.slice(0, MAX_MESSAGE_CHARACTERS),
    lastTransitionTime: time,
  };
}
