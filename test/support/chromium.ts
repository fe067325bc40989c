import { type Browser, chromium } from 'playwright-core';
import { installed } from './apt.ts';

/** Where Debian and others put it. */
const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const LAUNCH_TIMEOUT_MS = 120_000;

/** A real Chromium without a window, which ends with whoever started it. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: installed(PROGRAMS, 'chromium'),
    timeout: LAUNCH_TIMEOUT_MS,
    // Its sandbox needs what containers don't give, and refuses root; all that it loads is ours.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}
