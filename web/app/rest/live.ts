import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get, RestError } from './rest.ts';

/** What an endpoint answered last. While it fails, that stays, with the error beside it. */
export interface Live<T> {
  /** Undefined until the first answer. Of the path before, until the new one's has come (see `loading`). */
  readonly data: T | undefined;
  readonly error: RestError | undefined;
  /** When `data` came, in milliseconds since the epoch; 0 before. */
  readonly loadedAt: number;
  /** Whether the answer to the path as it now is has yet to come. */
  readonly loading: boolean;
  reload(): void;
}

interface Answer<T> {
  readonly path: string | null;
  readonly data: T | undefined;
  readonly error: RestError | undefined;
  readonly loadedAt: number;
}

/** After a failure that may pass: then twice as long each time, to the second. */
const FIRST_RETRY_SECONDS = 3;
const LAST_RETRY_SECONDS = 60;

/**
 * Asks `path` now and, with `everySeconds`, again and again while the page is seen. A failure that may pass is tried
 * again by itself. A change of path ends the request before it. Null asks nothing.
 */
export function useLive<T>(path: string | null, everySeconds: number | null = null): Live<T> {
  const [answer, setAnswer] = useState<Answer<T>>({
    path: null,
    data: undefined,
    error: undefined,
    loadedAt: 0,
  });
  const reloadNow = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    const later = (seconds: number | null): void => {
      if (seconds === null || abort.signal.aborted) return;
      timer = setTimeout(() => {
        if (document.hidden) later(seconds);
        else void load();
      }, seconds * 1000);
    };
    const load = async (): Promise<void> => {
      clearTimeout(timer);
      try {
        const data = await get<T>(path, abort.signal);
        failures = 0;
        setAnswer({ path, data, error: undefined, loadedAt: Date.now() });
        later(everySeconds);
      } catch (error) {
        if (abort.signal.aborted) return;
        const failure = error instanceof RestError ? error : new RestError(0, String(error), null, null);
        setAnswer((before) => ({ ...before, path, error: failure }));
        if (!failure.mayPass) return;
        const wait = Math.min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** failures++);
        later(Math.max(wait, failure.retryAfterSeconds ?? 0));
      }
    };
    reloadNow.current = () => void load();
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, everySeconds]);

  const reload = useCallback(() => reloadNow.current(), []);
  return { ...answer, loading: path !== null && answer.path !== path, reload };
}
