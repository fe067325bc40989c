-- Authorities, registration entries, tokens, and the history of all that Carnet did.
--
-- History (issuance, operator_event, entry_version, trust_bundle) is append-only: triggers refuse UPDATE, DELETE
-- and TRUNCATE to everyone, superusers included, and the role of a running server isn't granted them
-- (carnet_grant_runtime). Text that is searched collates "C": its order and its indexes must not depend on the
-- operating system's locale.

-- Append-only, by the database's own word.

CREATE FUNCTION carnet_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

-- For a table, and for each partition of its own: a statement's trigger fires on the table that is named only.
-- ALWAYS, so that session_replication_role doesn't silence it.
CREATE FUNCTION carnet_make_append_only(history regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
       FOR EACH STATEMENT EXECUTE FUNCTION public.carnet_refuse_change()', history);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', history);
END
$$;

-- Authorities and what they are trusted by.

CREATE TABLE authority (
  id text COLLATE "C" PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('root', 'issuing')),
  state text NOT NULL CHECK (state IN ('prepared', 'published', 'active', 'draining', 'retired', 'tainted')),
  parent_id text COLLATE "C" NOT NULL REFERENCES authority (id),
  key_algorithm text NOT NULL,
  certificate bytea NOT NULL,
  sealed_key bytea,
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp()
);

CREATE TABLE trust_bundle (
  sequence bigint PRIMARY KEY CHECK (sequence > 0),
  root_ids text[] NOT NULL,
  -- The roots' certificates as they were published, DER, in the order of root_ids.
  x509_authorities bytea[] NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (cardinality(root_ids) = cardinality(x509_authorities))
);
SELECT carnet_make_append_only('trust_bundle');

-- Registration entries: the live ones, and every version that ever was.

CREATE TABLE entry (
  id text COLLATE "C" PRIMARY KEY,
  version integer NOT NULL CHECK (version > 0),
  spiffe_id text NOT NULL,
  selectors text[] NOT NULL CHECK (cardinality(selectors) > 0),
  dns_names text[] NOT NULL,
  ttl_seconds integer CHECK (ttl_seconds > 0)
);

CREATE TABLE entry_version (
  entry_id text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  spiffe_id text NOT NULL,
  selectors text[] NOT NULL,
  dns_names text[] NOT NULL,
  ttl_seconds integer,
  -- The version that ended the entry; the content is the last one's.
  deleted boolean NOT NULL,
  actor text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  PRIMARY KEY (entry_id, version)
);
SELECT carnet_make_append_only('entry_version');

-- Bearer tokens. Only the hash of each is known here.

CREATE TABLE token (
  id text COLLATE "C" PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  role text NOT NULL CHECK (role IN ('admin', 'auditor')),
  sha256 bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- Every certificate, recorded before it is released.
--
-- Listed by (recorded_at, id), newest first; sequenced into the log by (xact, id) below the oldest transaction
-- still under way, because neither clocks nor identity columns follow the order of commits. There is no foreign
-- key to authority or entry_version: nothing there is ever deleted, and its check would cost more than the row.

CREATE TABLE issuance (
  id bigint GENERATED ALWAYS AS IDENTITY,
  xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  entry_version integer,
  serial bytea NOT NULL CHECK (octet_length(serial) = 16),
  profile text NOT NULL,
  identity text COLLATE "C" NOT NULL,
  dns_names text[] NOT NULL,
  authority_id text COLLATE "C" NOT NULL,
  public_key_sha256 bytea NOT NULL,
  certificate_sha256 bytea NOT NULL,
  certificate bytea NOT NULL,
  node text COLLATE "C",
  instance text COLLATE "C",
  -- json, not jsonb: kept to the letter, and cheaper to take in.
  evidence json,
  entry_id text COLLATE "C",
  requester text NOT NULL,
  PRIMARY KEY (recorded_at, id)
) PARTITION BY RANGE (recorded_at);

-- One for each filter of GET /v1/issuances, in the order of its pages.
CREATE INDEX issuance_serial ON issuance (serial, recorded_at, id);
CREATE INDEX issuance_identity ON issuance (identity, recorded_at, id);
CREATE INDEX issuance_instance ON issuance (instance, recorded_at, id);
CREATE INDEX issuance_node ON issuance (node, recorded_at, id);
CREATE INDEX issuance_entry ON issuance (entry_id, recorded_at, id);
CREATE INDEX issuance_authority ON issuance (authority_id, recorded_at, id);
SELECT carnet_make_append_only('issuance');

-- What operators and schedules changed.

CREATE TABLE operator_event (
  id bigint GENERATED ALWAYS AS IDENTITY,
  xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  recorded_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  actor text NOT NULL,
  action text NOT NULL,
  subject text COLLATE "C" NOT NULL,
  before json,
  after json,
  reason text NOT NULL,
  PRIMARY KEY (recorded_at, id)
) PARTITION BY RANGE (recorded_at);
SELECT carnet_make_append_only('operator_event');

-- Monthly partitions (UTC), and one as a net for rows of a month that has none.

CREATE TABLE issuance_default PARTITION OF issuance DEFAULT;
SELECT carnet_make_append_only('issuance_default');
CREATE TABLE operator_event_default PARTITION OF operator_event DEFAULT;
SELECT carnet_make_append_only('operator_event_default');

-- Makes the partitions of this month and of `months_ahead` more where they are missing, and returns their names.
-- Attached rather than created in place: that doesn't wait for those who write. It waits for those who read the
-- net, and gives up rather than hold up others behind it. A month whose rows are in the net already stays
-- there, with a warning: nothing is moved out of history.
CREATE FUNCTION carnet_ensure_partitions(months_ahead integer) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  parent text;
  month timestamp;
  partition text;
BEGIN
  IF months_ahead NOT BETWEEN 0 AND 24 THEN
    RAISE EXCEPTION 'months_ahead is %, and must be from 0 to 24', months_ahead USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('carnet_ensure_partitions'));
  FOREACH parent IN ARRAY ARRAY['issuance', 'operator_event'] LOOP
    FOR months IN 0..months_ahead LOOP
      month := this_month + make_interval(months => months);
      partition := parent || to_char(month, '"_"YYYY"_"MM');
      CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
      BEGIN
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition, parent);
        PERFORM public.carnet_make_append_only(format('public.%I', partition)::regclass);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, partition,
          month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        RETURN NEXT partition;
      EXCEPTION WHEN check_violation THEN
        RAISE WARNING 'rows of % are in the default partition, and stay there', partition;
      END;
    END LOOP;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION carnet_ensure_partitions(integer) FROM PUBLIC;

SELECT carnet_ensure_partitions(2);

-- What the role of a running server may do, where it is not the owner's: read everything, add to history (but
-- not choose its time or its place in the order), and change what lives. Run again after each migration.
CREATE FUNCTION carnet_grant_runtime(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('carnet_grant_runtime'));
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %s', runtime);
  EXECUTE format(
    'GRANT SELECT ON authority, trust_bundle, entry, entry_version, token, issuance, operator_event TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE ON authority, token TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE, DELETE ON entry TO %s', runtime);
  EXECUTE format('GRANT INSERT (sequence, root_ids, x509_authorities) ON trust_bundle TO %s', runtime);
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
