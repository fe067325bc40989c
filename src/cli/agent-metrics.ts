import { Gauge } from 'prom-client';
import type { AgentLink } from '../agent/link/agent-link.ts';
import type { Metrics } from '../metrics.ts';

/** What an agent of servers elsewhere has besides: how its link is. Public names: add to them, do not rename. */
export function observeLink(metrics: Metrics, link: AgentLink): void {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [metrics.registry] });
  const up = gauge(
    'carnet_agent_link_up',
    '1 while the agent is connected to a server, 0 while nothing can be renewed.',
  );
  const sessions = gauge(
    'carnet_agent_link_sessions',
    'Sessions with a server that were begun since the start.',
  );
  const expiry = gauge(
    'carnet_agent_certificate_expiry_timestamp_seconds',
    "When the agent's own certificate ends, in seconds since the epoch.",
  );
  metrics.beforeScrape(() => {
    const status = link.status();
    up.set(status.connected ? 1 : 0);
    sessions.set(status.sessions);
    expiry.set(status.certificateEnd === null ? Number.NaN : status.certificateEnd / 1000);
  });
}
