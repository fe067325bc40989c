-- What witnesses say of the log (C2SP tlog-witness, tlog-cosignature).

-- A checkpoint that a witness cosigned.
CREATE TABLE log_cosignature (
  size bigint NOT NULL CHECK (size > 0),
  -- The name and the ID of its key: witness.example/w1+aa4a09d1.
  witness text COLLATE "C" NOT NULL,
  -- A signature line of a note, as the witness made it, with its newline.
  line text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  -- Finds the latest of a witness.
  PRIMARY KEY (witness, size)
);
-- Finds those of a checkpoint, and the latest checkpoint that has enough.
CREATE INDEX log_cosignature_size ON log_cosignature (size, witness);
SELECT carnet_make_append_only('log_cosignature');

-- Why a witness does not cosign now, as the server that asks it found; no row for one that does.
CREATE TABLE log_witness_problem (
  witness text COLLATE "C" PRIMARY KEY,
  code text NOT NULL,
  reason text NOT NULL,
  since timestamptz NOT NULL DEFAULT statement_timestamp()
);

CREATE FUNCTION carnet_grants_witnesses(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT ON log_cosignature, log_witness_problem TO %s', runtime);
  EXECUTE format('GRANT INSERT (size, witness, line) ON log_cosignature TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE, DELETE ON log_witness_problem TO %s', runtime);
END
$$;
