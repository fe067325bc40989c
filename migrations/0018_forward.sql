-- Sinks outside that are told of every entry of the log, and how far each has got.

CREATE TABLE forward_sink (
  name text COLLATE "C" PRIMARY KEY,
  -- Where it is, without what may be secret in its address.
  target text NOT NULL,
  -- The leaf index of the entry that comes next: the sink acknowledged all before it since it began, but for what an
  -- operator had it pass over, which is among the operator events.
  position bigint NOT NULL CHECK (position >= 0),
  acknowledged_at timestamptz,
  -- Since the last acknowledgement.
  failures integer NOT NULL DEFAULT 0,
  failing_since timestamptz,
  problem text,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (num_nulls(failing_since, problem) IN (0, 2))
);

CREATE FUNCTION carnet_grants_forward(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON forward_sink TO %s', runtime);
END
$$;
