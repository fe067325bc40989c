import { h, render } from 'preact';
import { App } from './app.ts';
import { followLinks } from './location.ts';
import { loadSession } from './rest/session.ts';

const root = document.getElementById('app');
if (root !== null) {
  root.replaceChildren();
  followLinks();
  void loadSession();
  render(h(App, {}), root);
}
