import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { html } from '../html.ts';
import { chooseTheme, currentTheme, THEMES, type Theme } from '../theme.ts';

/** Light, dark, or as the machine has it. */
export function ThemeChoice(): VNode {
  const [theme, setTheme] = useState(currentTheme);
  const choose = (event: Event): void => {
    const chosen = (event.currentTarget as HTMLSelectElement).value as Theme;
    chooseTheme(chosen);
    setTheme(chosen);
  };
  return html`
    <label class="theme">
      <span>Theme</span>
      <select value=${theme} onChange=${choose}>${THEMES.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    </label>
  `;
}
