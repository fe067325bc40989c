-- What auditors ask: an index for each filter that had none, and tables that answer without reading all of history.

-- By serial, smaller: an equal one needs no order.
DROP INDEX issuance_serial;
CREATE INDEX issuance_serial ON issuance USING hash (serial);

-- By fingerprint. All tokens of a key have the same: they are found by the authority that the key is.
CREATE INDEX issuance_certificate_sha256 ON issuance USING hash (certificate_sha256);
CREATE INDEX issuance_public_key_sha256 ON issuance USING hash (public_key_sha256) WHERE profile <> 'jwt-svid';

-- By profile but the one that most have, and by requester but the agents, whose rows the index by node finds.
CREATE INDEX issuance_profile ON issuance (profile, recorded_at, id) WHERE profile <> 'x509-svid';
CREATE INDEX issuance_requester ON issuance (requester, recorded_at, id)
  WHERE requester IS DISTINCT FROM 'agent:' || node;

-- By validity at a time. Most lives are of hours, and found by when they were recorded; these are the others.
CREATE INDEX issuance_long ON issuance (recorded_at, id) WHERE not_after - recorded_at >= interval '25 hours';
CREATE INDEX issuance_unusual ON issuance (recorded_at, id)
  WHERE not_after - recorded_at >= interval '768 hours' OR recorded_at - not_before >= interval '2 hours';

-- The revoked among the issuances, in the order of pages: what revocation says, by the place of the row that it is of.
CREATE TABLE revoked_issuance (
  recorded_at timestamptz NOT NULL,
  id bigint NOT NULL,
  serial bytea NOT NULL,
  revoked_at timestamptz NOT NULL,
  PRIMARY KEY (recorded_at, id)
);

-- Of a serial, by the partitions of what can still be valid first: all of them are many to look into.
CREATE FUNCTION carnet_find_issuance(wanted bytea, revoked_at timestamptz, OUT recorded_at timestamptz, OUT id bigint)
  RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  (SELECT issuance.recorded_at, issuance.id FROM issuance
    WHERE serial = wanted AND issuance.recorded_at > revoked_at - interval '32 days' LIMIT 1)
  UNION ALL
  (SELECT issuance.recorded_at, issuance.id FROM issuance
    WHERE serial = wanted AND issuance.recorded_at <= revoked_at - interval '32 days' LIMIT 1)
  LIMIT 1
$$;

CREATE FUNCTION carnet_place_revocations() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO revoked_issuance
    SELECT place.recorded_at, place.id, added.serial, added.revoked_at
    FROM added CROSS JOIN LATERAL carnet_find_issuance(added.serial, added.revoked_at) AS place
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$$;
INSERT INTO revoked_issuance
  SELECT place.recorded_at, place.id, revocation.serial, revocation.revoked_at
  FROM revocation CROSS JOIN LATERAL carnet_find_issuance(revocation.serial, revocation.revoked_at) AS place;
CREATE TRIGGER place_revocations AFTER INSERT ON revocation
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION carnet_place_revocations();
SELECT carnet_make_append_only('revoked_issuance');

-- What operators did.
CREATE INDEX operator_event_actor ON operator_event (actor, recorded_at, id);
CREATE INDEX operator_event_action ON operator_event (action COLLATE "C", recorded_at, id);
CREATE INDEX operator_event_subject ON operator_event (subject, recorded_at, id);

-- Reports: how many issuances there are of each, counted as the log has them, each once. `counted` says how far.
CREATE TABLE issuance_by_rule (
  day date NOT NULL,
  -- Empty where no rule granted it.
  entry_id text COLLATE "C" NOT NULL,
  identity text COLLATE "C" NOT NULL,
  issued bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  PRIMARY KEY (day, entry_id, identity)
);
CREATE INDEX issuance_by_rule_entry ON issuance_by_rule (entry_id);

CREATE TABLE issuance_by_node (
  day date NOT NULL,
  -- Empty for what no node's agent asked for.
  node text COLLATE "C" NOT NULL,
  issued bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  PRIMARY KEY (day, node)
);

CREATE TABLE issuance_by_signer (
  -- When it begins.
  hour timestamptz NOT NULL,
  profile text NOT NULL,
  authority_id text COLLATE "C" NOT NULL,
  issued bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  PRIMARY KEY (hour, profile, authority_id)
);

CREATE TABLE counted (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  -- The entries of the log from 0 on, without this one.
  size bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT statement_timestamp()
);
INSERT INTO counted (size) VALUES (0);

CREATE FUNCTION carnet_grants_questions(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT, INSERT ON revoked_issuance TO %s', runtime);
  EXECUTE format(
    'GRANT SELECT, INSERT, UPDATE ON issuance_by_rule, issuance_by_node, issuance_by_signer TO %s', runtime);
  EXECUTE format('GRANT SELECT, UPDATE ON counted TO %s', runtime);
END
$$;
