import type { IncomingHttpHeaders } from 'node:http';
import type { Problem } from './problem.ts';

/** Whether the answer becomes a page that a person looks at (Fetch Metadata, Sec-Fetch-Dest). */
export function isForPerson(headers: IncomingHttpHeaders): boolean {
  return headers['sec-fetch-dest'] === 'document';
}

/** The problem as a page: a person who is sent back from signing in elsewhere would get the JSON of a program. */
export function problemPage({ status, title, code, detail, instance }: Problem): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)} · Carnet</title>
<main>
<h1>${status} ${escaped(title)}</h1>
<p>${escaped(detail)}.</p>
<p><a href="/ui/">Back to Carnet</a></p>
<p><small>${code}, ${escaped(instance)}</small></p>
</main>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
