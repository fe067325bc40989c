-- Nodes whose agents run apart from the servers, and how they come to be known.

-- A secret that lets one agent be attested, once. Only its hash is known here.
CREATE TABLE join_token (
  id text COLLATE "C" PRIMARY KEY,
  sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
  -- Whose agent it lets in; null for a node that is named after the token.
  node text COLLATE "C",
  -- node:… selectors besides those that every node has.
  selectors text[] NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  -- The node that it let in.
  used_by text COLLATE "C",
  revoked_at timestamptz
);

-- The agent of a node, as it was attested last, and the certificate that it is known by.
CREATE TABLE agent (
  node text COLLATE "C" PRIMARY KEY,
  method text NOT NULL,
  selectors text[] NOT NULL,
  evidence jsonb NOT NULL,
  -- Counts up: what was issued after an earlier attestation counts no more.
  attestation integer NOT NULL CHECK (attestation > 0),
  -- The first certificate of this attestation: what was issued before it belongs to an earlier one.
  attested_serial bytea NOT NULL CHECK (octet_length(attested_serial) = 16),
  -- The newest; null once none counts any more, until the next attestation.
  serial bytea CHECK (octet_length(serial) = 16),
  -- When the certificate was presented for the first time. Until then, the one before it is as good.
  seen_at timestamptz,
  previous_serial bytea CHECK (octet_length(previous_serial) = 16),
  expires_at timestamptz NOT NULL,
  -- Of the process that has the certificate; those before it never come back.
  run_id bytea,
  past_run_ids bytea[] NOT NULL DEFAULT '{}',
  -- The session that counts, and what the agent says of its software.
  session_id uuid,
  version text,
  first_attested_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  attested_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  last_seen_at timestamptz,
  -- How it fares, by its own word.
  health jsonb,
  banned_at timestamptz,
  banned_by text,
  ban_reason text,
  CHECK (num_nonnulls(banned_at, banned_by, ban_reason) IN (0, 3))
);

CREATE FUNCTION carnet_grants_agents(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON join_token, agent TO %s', runtime);
END
$$;
