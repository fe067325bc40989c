-- Rotation gated by what proxies acknowledged, and revocation.
--
-- A trust bundle is what verifiers need to judge a chain: the roots, and a CRL of each CA that signs or has signed
-- what is still presented. Both are published together, so one sequence number says what a proxy knows.

ALTER TABLE trust_bundle
  -- Whose CRLs they are, in the same order.
  ADD COLUMN crl_ids text[] NOT NULL DEFAULT '{}',
  ADD COLUMN crls bytea[] NOT NULL DEFAULT '{}',
  ADD CHECK (cardinality(crl_ids) = cardinality(crls));

ALTER TABLE authority
  -- The first bundle that had this root, or this CA's CRL: who acknowledged it, or a later one, is ready for it.
  ADD COLUMN published_sequence bigint REFERENCES trust_bundle (sequence),
  -- The new root signed by the old one, for verifiers out of our reach; DER.
  ADD COLUMN cross_certificate bytea,
  -- Where a key in hardware is found; null for one that is sealed here or that we do not have.
  ADD COLUMN key_reference text,
  ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();

CREATE TABLE crl (
  authority_id text COLLATE "C" NOT NULL REFERENCES authority (id),
  number bigint NOT NULL CHECK (number > 0),
  crl bytea NOT NULL,
  this_update timestamptz NOT NULL,
  next_update timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  PRIMARY KEY (authority_id, number)
);
SELECT carnet_make_append_only('crl');

-- What an operator revoked, and so what is refused from then on. All fields that are given must fit a request for
-- it to be refused. Lifting a denial gives back nothing that was revoked.
CREATE TABLE denial (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  identity text COLLATE "C",
  instance text COLLATE "C",
  node text COLLATE "C",
  reason text NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  lifted_at timestamptz,
  CHECK (num_nonnulls(identity, instance, node) > 0)
);

-- Certificates revoked, each once.
CREATE TABLE revocation (
  serial bytea PRIMARY KEY CHECK (octet_length(serial) = 16),
  authority_id text COLLATE "C" NOT NULL REFERENCES authority (id),
  not_after timestamptz NOT NULL,
  -- A name of RFC 5280 §5.3.1, for example keyCompromise.
  reason_code text NOT NULL,
  reason text NOT NULL,
  actor text NOT NULL,
  -- The denial that it follows from; null for an authority's own certificate.
  denial_id bigint REFERENCES denial (id),
  revoked_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  xact xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX revocation_authority ON revocation (authority_id, not_after);
SELECT carnet_make_append_only('revocation');

-- Finds what has not expired yet among all that was ever issued: the order of rows and of ends is much the same.
CREATE INDEX issuance_not_after ON issuance USING brin (not_after) WITH (pages_per_range = 16);

-- Whether a denial is in force against a bearer. Three questions, so that each is one look into an index.
CREATE INDEX denial_instance ON denial (instance) WHERE lifted_at IS NULL;
CREATE INDEX denial_identity ON denial (identity) WHERE lifted_at IS NULL AND instance IS NULL;
CREATE INDEX denial_node ON denial (node) WHERE lifted_at IS NULL AND instance IS NULL AND identity IS NULL;
CREATE FUNCTION carnet_is_denied(bearer_identity text, bearer_instance text, bearer_node text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  SELECT EXISTS (SELECT FROM denial WHERE lifted_at IS NULL AND instance = bearer_instance
      AND (identity IS NULL OR identity = bearer_identity) AND (node IS NULL OR node = bearer_node))
    OR EXISTS (SELECT FROM denial WHERE lifted_at IS NULL AND instance IS NULL AND identity = bearer_identity
      AND (node IS NULL OR node = bearer_node))
    OR EXISTS (SELECT FROM denial WHERE lifted_at IS NULL AND instance IS NULL AND identity IS NULL
      AND node = bearer_node)
$$;

-- A replica that has not heard of it yet must neither sign by an authority that is retired nor issue to whom that is
-- denied. The lock makes one of the two wait for the other: who retires or revokes looks again for what was signed,
-- after taking the stronger lock, and so finds it all. In one order, so that two of them never wait for each other.
CREATE FUNCTION carnet_refuse_issuance() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
  refused text;
BEGIN
  -- By itself: a condition on the state would be checked first, and what it excludes not be locked.
  PERFORM FROM authority WHERE id IN (SELECT authority_id FROM recorded) ORDER BY id FOR SHARE;
  SELECT string_agg(id, ', ') INTO refused FROM authority
    WHERE id IN (SELECT authority_id FROM recorded) AND state = 'retired';
  IF refused IS NOT NULL THEN
    RAISE EXCEPTION 'authority % is retired, and signs no more', refused USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF EXISTS (SELECT FROM denial WHERE lifted_at IS NULL) THEN
    SELECT identity || ' of ' || instance INTO refused FROM recorded
      WHERE instance IS NOT NULL AND carnet_is_denied(identity, instance, node) LIMIT 1;
    IF refused IS NOT NULL THEN
      RAISE EXCEPTION '% is revoked: nothing more is issued to it', refused USING ERRCODE = 'CN403';
    END IF;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER refuse_issuance AFTER INSERT ON issuance
  REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION carnet_refuse_issuance();

-- A rotation under way, or one that was. One of a kind at a time.
CREATE TABLE rotation (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('root', 'issuing')),
  -- Goes on by itself from gate to gate; else each step waits for its command.
  hands_free boolean NOT NULL,
  -- The old authority's key is compromised: no waves, no hold.
  urgent boolean NOT NULL,
  -- The old root certifies the new one too.
  cross_sign boolean NOT NULL,
  -- Consumers that cannot acknowledge are waited for this long after they were last sent a bundle.
  hold_seconds integer NOT NULL CHECK (hold_seconds >= 0),
  -- The next step that was asked for by command; null when it was taken.
  requested text CHECK (requested IN ('activate', 'retire', 'abort')),
  -- The gate of the requested step is not waited for.
  force boolean NOT NULL DEFAULT false,
  old_id text COLLATE "C" NOT NULL REFERENCES authority (id),
  new_id text COLLATE "C" REFERENCES authority (id),
  -- Since when nobody holds the next step up: an acknowledgement is not yet in use at each worker of its proxy.
  gate_open_since timestamptz,
  actor text NOT NULL,
  reason text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  finished_at timestamptz,
  outcome text CHECK (outcome IN ('done', 'aborted'))
);
CREATE UNIQUE INDEX rotation_open ON rotation (kind) WHERE finished_at IS NULL;

-- What each instance (container or process) of the fleet holds and acknowledged, by its agent's word. Live: it is
-- kept until its certificates have ended or the instance is gone.
CREATE TABLE consumer (
  instance text COLLATE "C" PRIMARY KEY,
  node text COLLATE "C" NOT NULL,
  -- What the proxies of the instance call themselves.
  names text[] NOT NULL,
  identities text[] NOT NULL,
  -- Streams open now; 0 for one that may still run, and present what it holds.
  streams integer NOT NULL,
  -- The process has ended or the container is no more: it presents nothing.
  gone boolean NOT NULL,
  -- False where the protocol has no acknowledgement: then what was sent counts after a hold.
  acknowledges boolean NOT NULL,
  -- Of the bundle, the least over its streams; null where it does not take its trust from us.
  bundle_sent bigint,
  bundle_sent_at timestamptz,
  bundle_acknowledged bigint,
  -- Confirmed by a look at what it uses, not only by its acknowledgement.
  bundle_observed bigint,
  -- The authorities of every certificate that it may present now.
  authorities text[] NOT NULL,
  -- The last end among these certificates.
  holds_until timestamptz,
  -- Its last refusal, in its own words.
  problem text,
  updated_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX consumer_node ON consumer (node);

CREATE OR REPLACE FUNCTION carnet_grant_runtime(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('carnet_grant_runtime'));
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %s', runtime);
  EXECUTE format(
    'GRANT SELECT ON authority, trust_bundle, entry, entry_version, token, issuance, operator_event, crl, denial,
       revocation, rotation, consumer TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE ON authority, token, denial, rotation TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE, DELETE ON entry, consumer TO %s', runtime);
  EXECUTE format('GRANT INSERT (sequence, root_ids, x509_authorities, crl_ids, crls) ON trust_bundle TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (authority_id, number, crl, this_update, next_update) ON crl TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (serial, authority_id, not_after, reason_code, reason, actor, denial_id) ON revocation TO %s',
    runtime);
  EXECUTE format(
    'GRANT INSERT (entry_id, version, spiffe_id, selectors, dns_names, ttl_seconds, deleted, actor)
       ON entry_version TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (not_before, not_after, entry_version, serial, profile, identity, dns_names, authority_id,
       public_key_sha256, certificate_sha256, certificate, node, instance, evidence, entry_id, requester)
       ON issuance TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (actor, action, subject, before, after, reason) ON operator_event TO %s', runtime);
  EXECUTE format('GRANT EXECUTE ON FUNCTION carnet_ensure_partitions(integer) TO %s', runtime);
END
$$;
