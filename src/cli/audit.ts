import { Command } from 'commander';
import { eventsCommand } from './audit-events.ts';
import { explainCommand } from './audit-explain.ts';
import { exportCommand } from './audit-export.ts';
import { forwardCommand } from './audit-forward.ts';
import { grantedCommand } from './audit-granted.ts';
import { holdCommand } from './audit-hold.ts';
import { proveCommand } from './audit-prove.ts';
import { reportCommand } from './audit-report.ts';
import { retentionCommand } from './audit-retention.ts';
import { holdersCommand, searchCommand } from './audit-search.ts';
import { showCommand } from './audit-show.ts';
import { verifyCommand } from './audit-verify.ts';
import { PROCESS_TERMINAL, type Terminal } from './output.ts';

/** `carnet audit search|holders|show|explain|events|granted|report|export|retention|hold|prove|verify|forward`. */
export function auditCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('audit')
    .description('every certificate that was ever issued, and who changed what')
    .addCommand(searchCommand(terminal))
    .addCommand(holdersCommand(terminal))
    .addCommand(showCommand(terminal))
    .addCommand(explainCommand(terminal))
    .addCommand(eventsCommand(terminal))
    .addCommand(exportCommand(terminal))
    .addCommand(retentionCommand(terminal))
    .addCommand(holdCommand(terminal))
    .addCommand(grantedCommand(terminal))
    .addCommand(reportCommand(terminal))
    .addCommand(proveCommand(terminal))
    .addCommand(verifyCommand(terminal))
    .addCommand(forwardCommand(terminal));
}
