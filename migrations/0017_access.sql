-- Who may: two more roles, what a token is limited to and when it was last used, and browsers' sessions.

ALTER TABLE token DROP CONSTRAINT token_role_check;
ALTER TABLE token ADD CONSTRAINT token_role_check CHECK (role IN ('admin', 'operator', 'auditor', 'break-glass'));
-- One that can do everything is never without an end.
ALTER TABLE token ADD CONSTRAINT token_break_glass_ends CHECK (role <> 'break-glass' OR expires_at IS NOT NULL);
-- Null: whatever the role may.
ALTER TABLE token ADD COLUMN scopes text[] CHECK (cardinality(scopes) > 0);
-- To the minute or so.
ALTER TABLE token ADD COLUMN last_used_at timestamptz;

-- What a browser holds after its sign-in. Only the hash of each is known here.
CREATE TABLE session (
  id text COLLATE "C" PRIMARY KEY,
  sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
  actor text COLLATE "C" NOT NULL,
  role text NOT NULL CHECK (role IN ('admin', 'operator', 'auditor', 'break-glass')),
  scopes text[] CHECK (cardinality(scopes) > 0),
  method text NOT NULL CHECK (method IN ('token', 'oidc')),
  -- The token that it was opened with: with it the session ends.
  token_id text COLLATE "C" REFERENCES token (id),
  created_at timestamptz NOT NULL,
  last_used_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  CHECK ((method = 'token') = (token_id IS NOT NULL))
);
CREATE INDEX session_actor ON session (actor, created_at);
CREATE INDEX session_end ON session (expires_at);

CREATE FUNCTION carnet_grants_sessions(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON session TO %s', runtime);
END
$$;
