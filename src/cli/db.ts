import { Command } from 'commander';
import { SERVER_SETTINGS } from '../config.ts';
import { embeddedUrl } from '../db/embedded.ts';
import { addSettings, flagsOf, readSettings } from '../settings.ts';

const { dataDir, databaseUrl } = SERVER_SETTINGS;
const SETTINGS = { dataDir, databaseUrl };

/** `carnet db url`. */
export function databaseCommand(): Command {
  const url = new Command('url').description("print the database's connection URL, for psql and backups");
  addSettings(url, SETTINGS);
  url
    .option('--json', 'as {"url": …}')
    .addHelpText('after', '\nExample:\n  $ psql "$(carnet db url)" -c "SELECT count(*) FROM issuance"')
    .action(() => {
      const config = readSettings(SETTINGS, flagsOf(url), process.env);
      const found = config.databaseUrl ?? embeddedUrl(config.dataDir);
      process.stdout.write(
        `${url.opts<{ json?: boolean }>().json === true ? JSON.stringify({ url: found }) : found}\n`,
      );
    });
  return new Command('db').description('the database').addCommand(url);
}
