import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Often enough for "12 s ago" to be no lie for long, rarely enough to be no work. */
const TICK_MS = 5 * SECOND;

/** How long ago, or in how long; the exact time, UTC, is in its title and its markup. */
export function Time({ at }: { at: string }): VNode {
  const now = useNow();
  return html`<time datetime=${at} title=${exactTime(at)}>${relativeTime(Date.parse(at), now)}</time>`;
}

/** The exact time, UTC, and how long ago that is. */
export function ExactTime({ at }: { at: string }): VNode {
  const now = useNow();
  return html`<time datetime=${at}>${exactTime(at)}</time> <span class="quiet">${relativeTime(Date.parse(at), now)}</span>`;
}

/** `2026-11-23 04:34:19Z`. */
export function exactTime(at: string): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? at : `${time.toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** `12 min ago`, `in 3 h`; both in milliseconds since the epoch. */
export function relativeTime(at: number, now: number): string {
  const distance = Math.abs(at - now);
  if (distance < SECOND) return 'now';
  const text = durationText(distance);
  return at < now ? `${text} ago` : `in ${text}`;
}

/** `45 s`, `12 min`, `3 h`, `8 d`: its largest unit, of milliseconds. */
export function durationText(millis: number): string {
  if (millis < MINUTE) return `${Math.floor(millis / SECOND)} s`;
  if (millis < HOUR) return `${Math.floor(millis / MINUTE)} min`;
  if (millis < 2 * DAY) return `${Math.floor(millis / HOUR)} h`;
  return `${Math.floor(millis / DAY)} d`;
}

const listeners = new Set<(now: number) => void>();

/** The time, in milliseconds since the epoch, anew every few seconds: one timer for all that show it. */
export function useNow(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    listeners.add(setNow);
    return () => void listeners.delete(setNow);
  }, []);
  return now;
}

setInterval(() => {
  const now = Date.now();
  if (!document.hidden) for (const listener of listeners) listener(now);
}, TICK_MS);
