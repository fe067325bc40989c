-- The log: every issuance, revocation and operator event as a leaf of one Merkle tree (RFC 6962 §2.1), in the order
-- of (xact, kind, row_id). Nothing of it is ever overwritten: what is not whole yet is derived when it is asked for.

-- What the other two kinds of rows have already: a place among the rows of one transaction.
ALTER TABLE revocation ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;

-- Finds what is recorded since the last entry. Rows come in much in this order, so it grows at its end only.
CREATE INDEX issuance_order ON issuance (xact, id);
CREATE INDEX operator_event_order ON operator_event (xact, id);
CREATE INDEX revocation_order ON revocation (xact, id);

-- The key of the checkpoints; Ed25519.
CREATE TABLE log_key (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id text COLLATE "C" NOT NULL,
  -- The log's name, which its key has as well.
  origin text NOT NULL,
  -- SubjectPublicKeyInfo, DER.
  public_key bytea NOT NULL,
  sealed_key bytea,
  key_reference text,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (num_nonnulls(sealed_key, key_reference) = 1)
);

CREATE TABLE log_entry (
  leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
  -- 1 issuance, 2 revocation, 3 operator_event.
  kind smallint NOT NULL CHECK (kind IN (1, 2, 3)),
  -- Of the row: its transaction, its id, and when it was recorded.
  xact xid8 NOT NULL,
  row_id bigint NOT NULL,
  row_recorded_at timestamptz NOT NULL,
  -- SHA-256 of a zero byte and the entry (docs/AUDIT.md).
  leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
-- No row twice; and where a row is in the log.
CREATE UNIQUE INDEX log_entry_row ON log_entry (kind, row_id);
SELECT carnet_make_append_only('log_entry');

-- Of each 256 hashes of the level below, once they are whole, the hash that covers them all. Level 0 is log_entry.
CREATE TABLE log_node (
  level smallint NOT NULL CHECK (level > 0),
  node_index bigint NOT NULL CHECK (node_index >= 0),
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (level, node_index)
);
SELECT carnet_make_append_only('log_node');

CREATE TABLE log_checkpoint (
  size bigint PRIMARY KEY CHECK (size > 0),
  root bytea NOT NULL CHECK (octet_length(root) = 32),
  -- The signed note, as it was published.
  note text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
SELECT carnet_make_append_only('log_checkpoint');

CREATE FUNCTION carnet_grants_log(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT ON log_key, log_entry, log_node, log_checkpoint TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (id, origin, public_key, sealed_key, key_reference), UPDATE (sealed_key) ON log_key TO %s', runtime);
  EXECUTE format('GRANT INSERT ON log_entry, log_node TO %s', runtime);
  EXECUTE format('GRANT INSERT (size, root, note) ON log_checkpoint TO %s', runtime);
END
$$;
