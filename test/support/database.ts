import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** Made by test/run.ts, with all migrations; each test file gets a copy. */
export const TEMPLATE = 'carnet_template';

export interface TestDatabase {
  readonly url: string;
  /** Closes the sessions that are left and removes the database. */
  drop(): Promise<void>;
}

/** A fresh, migrated database on the tests' PostgreSQL; `empty` is one without tables. */
export async function createDatabase(template: typeof TEMPLATE | 'empty' = TEMPLATE): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(`CREATE DATABASE ${name}${template === 'empty' ? '' : ` TEMPLATE ${template}`}`);
  return { url: urlOf(name), drop: () => administer(`DROP DATABASE ${name} WITH (FORCE)`) };
}

/** The connection URL of a database of the tests' PostgreSQL, as its superuser or another role. */
export function urlOf(database: string, role?: string): string {
  const server = process.env.CARNET_TEST_DATABASE_URL;
  if (server === undefined) throw new Error('this test needs its database: run it as npm test -- <file>');
  const url = new URL(server);
  url.pathname = `/${database}`;
  if (role !== undefined) url.username = role;
  return url.href;
}

/** Runs one statement, as the superuser, outside of the test's own database. */
export async function administer(statement: string): Promise<void> {
  const client = new pg.Client(urlOf('postgres'));
  await client.connect();
  await client.query(statement).finally(() => client.end());
}
