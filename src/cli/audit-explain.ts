import type { Command } from 'commander';
import type { ExplainedRuleBody, ExplanationBody } from '../api/explanation.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, type Terminal, writeFields, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

/** `carnet audit explain`. */
export function explainCommand(terminal: Terminal): Command {
  return operatorCommand('explain')
    .argument('<SERIAL>', 'serial number, with or without colons')
    .description('explain why a certificate was issued: what was seen, and what each rule then meant')
    .addHelpText(
      'after',
      '\nExample: why did this workload get this certificate?\n  $ carnet audit explain 47e2f2b66ebe5fc5a116289927abf23c',
    )
    .action(async (serial: string, flags: OperatorFlags) => {
      const path = `/v1/issuances/${encodeURIComponent(serial)}/explanation`;
      const explanation = await clientOf(flags, terminal).get<ExplanationBody>(path);
      if (flags.json === true) writeJson(terminal, explanation);
      else writeExplanation(terminal, explanation);
    });
}

function writeExplanation(terminal: Terminal, explanation: ExplanationBody): void {
  const { rule_event: event, rules } = explanation;
  writeFields(terminal, [
    ['Serial', explanation.serial],
    ['Identity', explanation.identity],
    ['Recorded', explanation.recorded_at],
    ['Instance', explanation.instance ?? '-'],
    ['Requested by', explanation.requester],
    ...(event === null
      ? []
      : [
          [
            'Rule written',
            `${event.recorded_at} by ${event.actor} (${event.action}, log entry ${event.log_index ?? 'not yet'})`,
          ] as const,
        ]),
  ]);
  if (explanation.selectors.length > 0) {
    const from = explanation.selectors_from === 'recorded' ? 'as recorded' : 'as far as evidence tells';
    writeLine(terminal, `\nSelectors of the holder, ${from}`);
    writeFields(
      terminal,
      explanation.selectors.map((selector) => [`  ${selector}`, '']),
    );
  }
  if (rules.length > 0) writeLine(terminal, '\nRules as they stood then');
  for (const rule of rules) writeFields(terminal, ruleFields(rule));
  if (explanation.other_rules > 0)
    writeLine(terminal, `  and ${explanation.other_rules} more, which match less`);
  for (const remark of explanation.remarks) note(terminal, remark);
}

function ruleFields(rule: ExplainedRuleBody): [string, string][] {
  const { entry } = rule;
  return [
    [`  ${entry.id} version ${entry.version}`, said(rule)],
    ['    gives', entry.spiffe_id],
    ['    to', entry.selectors.join(' ')],
    ['    written', `${shortTime(rule.written_at)} by ${rule.written_by}`],
  ];
}

function said({ outcome, identity, missing, unknown, why }: ExplainedRuleBody): string {
  switch (outcome) {
    case 'granted':
      return 'granted it';
    case 'granted_other':
      return `matches too, and grants ${identity}`;
    case 'shadowed':
      return `matches too: ${why}`;
    case 'placeholder_unfilled':
      return `does not fit: ${why}`;
    case 'selectors_missing':
      return [
        ...(missing.length > 0 ? [`does not match: no ${missing.join(', no ')}`] : []),
        ...(unknown.length > 0 ? [`not known: ${unknown.join(' ')}`] : []),
      ].join('; ');
  }
}
