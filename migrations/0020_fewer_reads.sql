-- Questions that read more rows than they answered with.

-- It reads all of history, however much that is; in the order of locks in which a revocation takes them.
SET LOCAL statement_timeout = 0;
LOCK TABLE revocation, issuance IN ACCESS EXCLUSIVE MODE;

-- Who held an identity at a time: of a common one, the rows that had ended by then are told by the index.
DROP INDEX issuance_identity;
CREATE INDEX issuance_identity ON issuance (identity, recorded_at, id, not_after);

-- The revoked with all that is searched by: what fits few of them is found without reading the others.

DROP TRIGGER place_revocations ON revocation;
DROP FUNCTION carnet_find_issuance(bytea, timestamptz);
DROP TABLE revoked_issuance;

CREATE TABLE revoked_issuance (
  recorded_at timestamptz NOT NULL,
  id bigint NOT NULL,
  serial bytea NOT NULL,
  revoked_at timestamptz NOT NULL,
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  entry_version integer,
  profile text NOT NULL,
  identity text COLLATE "C" NOT NULL,
  authority_id text COLLATE "C" NOT NULL,
  public_key_sha256 bytea NOT NULL,
  certificate_sha256 bytea NOT NULL,
  node text COLLATE "C",
  instance text COLLATE "C",
  entry_id text COLLATE "C",
  requester text NOT NULL,
  PRIMARY KEY (recorded_at, id)
);

-- Of a serial, by the partitions of what can still be valid first: all of them are many to look into.
CREATE FUNCTION carnet_find_issuance(wanted bytea, revoked_at timestamptz) RETURNS SETOF issuance
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  (SELECT * FROM issuance
    WHERE serial = wanted AND issuance.recorded_at > revoked_at - interval '32 days' LIMIT 1)
  UNION ALL
  (SELECT * FROM issuance
    WHERE serial = wanted AND issuance.recorded_at <= revoked_at - interval '32 days' LIMIT 1)
  LIMIT 1
$$;

CREATE OR REPLACE FUNCTION carnet_place_revocations() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO revoked_issuance
    SELECT found.recorded_at, found.id, found.serial, added.revoked_at, found.not_before, found.not_after,
      found.entry_version, found.profile, found.identity, found.authority_id, found.public_key_sha256,
      found.certificate_sha256, found.node, found.instance, found.entry_id, found.requester
    FROM added CROSS JOIN LATERAL carnet_find_issuance(added.serial, added.revoked_at) AS found
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$$;
INSERT INTO revoked_issuance
  SELECT found.recorded_at, found.id, found.serial, revocation.revoked_at, found.not_before, found.not_after,
    found.entry_version, found.profile, found.identity, found.authority_id, found.public_key_sha256,
    found.certificate_sha256, found.node, found.instance, found.entry_id, found.requester
  FROM revocation CROSS JOIN LATERAL carnet_find_issuance(revocation.serial, revocation.revoked_at) AS found;
CREATE TRIGGER place_revocations AFTER INSERT ON revocation
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION carnet_place_revocations();
SELECT carnet_make_append_only('revoked_issuance');

-- Of those that an incident revokes at once, the ones that are asked for; what else is asked is read off these.
CREATE INDEX revoked_issuance_identity ON revoked_issuance (identity, recorded_at, id);
CREATE INDEX revoked_issuance_instance ON revoked_issuance (instance, recorded_at, id);
CREATE INDEX revoked_issuance_node ON revoked_issuance (node, recorded_at, id);
CREATE INDEX revoked_issuance_entry ON revoked_issuance (entry_id, recorded_at, id);
CREATE INDEX revoked_issuance_authority ON revoked_issuance (authority_id, recorded_at, id);

-- Every identity that a rule ever granted, in the order of pages.
DROP INDEX issuance_by_rule_entry;
CREATE INDEX issuance_by_rule_entry ON issuance_by_rule (entry_id, identity, day);
