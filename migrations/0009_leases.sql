-- Who of several servers does what only one may do at a time, and until when at the latest.

CREATE TABLE lease (
  name text PRIMARY KEY,
  -- One process.
  holder text NOT NULL,
  expires_at timestamptz NOT NULL
);

CREATE FUNCTION carnet_grants_leases(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO %s', runtime);
END
$$;
