-- Tokens that were shown to be attested by, of those that are good for one attestation: by which server, all know.

CREATE TABLE token_use (
  -- SHA-256 of what tells the token from all others: the token itself is not kept.
  sha256 bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
  -- From then on no server takes it for its age.
  ends_at timestamptz NOT NULL
);
CREATE INDEX ON token_use (ends_at);

CREATE FUNCTION carnet_grants_token_uses(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, DELETE ON token_use TO %s', runtime);
END
$$;
