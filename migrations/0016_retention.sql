-- Retention of history by monthly partitions, and legal holds that keep them.

-- What must be kept, whatever the policy says. Never changed: that it ended is a row of its own.
CREATE TABLE legal_hold (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- A SPIFFE ID, or how it begins; null for everything.
  identity text COLLATE "C",
  is_prefix boolean NOT NULL DEFAULT false,
  -- Recorded at or after, and before; null for no such bound.
  held_from timestamptz,
  held_to timestamptz,
  reason text NOT NULL,
  actor text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (held_from < held_to)
);
SELECT carnet_make_append_only('legal_hold');

CREATE TABLE legal_hold_release (
  hold_id bigint PRIMARY KEY REFERENCES legal_hold (id),
  reason text NOT NULL,
  actor text NOT NULL,
  released_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
SELECT carnet_make_append_only('legal_hold_release');

-- The months of history, without the default partitions, which stay.
CREATE FUNCTION carnet_partitions() RETURNS TABLE (name text, history text, starts timestamptz, ends timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
  SELECT part.relname::text, parent.relname::text, bound[1]::timestamptz, bound[2]::timestamptz
  FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent,
    regexp_match(pg_get_expr(part.relpartbound, part.oid), $re$^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$re$) AS bound
  WHERE inhparent IN ('public.issuance'::regclass, 'public.operator_event'::regclass) AND bound IS NOT NULL
$$;

-- Why a partition has to stay, in words; null where nothing keeps it.
CREATE FUNCTION carnet_retention_obstacle(partition text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  part record;
  hold record;
  held boolean;
  kept bigint;
  until timestamptz;
BEGIN
  SELECT * INTO part FROM public.carnet_partitions() WHERE name = partition;
  IF NOT FOUND THEN
    RETURN 'there is no such partition';
  END IF;
  -- Whoever mistypes a policy shall not lose what is talked about today.
  IF part.ends > now() - interval '30 days' THEN
    RETURN 'its month ended less than 30 days ago';
  END IF;
  FOR hold IN
    SELECT * FROM public.legal_hold
    -- A release counts by its event, which is in the log: none goes by without a word.
    WHERE NOT EXISTS (
        SELECT FROM public.legal_hold_release JOIN public.operator_event AS event
          ON event.action = 'hold.release' AND event.subject = hold_id::text WHERE hold_id = legal_hold.id)
      AND coalesce(held_from, '-infinity') < part.ends AND coalesce(held_to, 'infinity') > part.starts ORDER BY id
  LOOP
    held := true;
    -- Which operator events belong to an identity nobody can tell: they are all held.
    IF part.history = 'issuance' THEN
      EXECUTE format('SELECT EXISTS (SELECT FROM public.%I WHERE ($1 IS NULL OR identity = $1
          OR ($2 AND starts_with(identity, $1)))
        AND recorded_at >= coalesce($3, ''-infinity'') AND recorded_at < coalesce($4, ''infinity''))', partition)
        INTO held USING hold.identity, hold.is_prefix, hold.held_from, hold.held_to;
    END IF;
    IF held THEN
      RETURN format('legal hold %s keeps it (%s)', hold.id, hold.reason);
    END IF;
  END LOOP;
  IF part.history = 'issuance' THEN
    EXECUTE format('SELECT count(*), max(not_after) FROM public.%I WHERE not_after > now()', partition) INTO kept, until;
    IF kept > 0 THEN
      RETURN format('certificates in it, %s of them, are valid until %s at the latest', kept, until);
    END IF;
  ELSE
    EXECUTE format('SELECT count(*) FROM public.%I WHERE starts_with(action, ''retention.'') OR starts_with(action, ''hold.'')',
      partition) INTO kept;
    IF kept > 0 THEN
      RETURN format('events in it, %s of them, tell of exports that stand for dropped partitions, or of legal holds', kept);
    END IF;
  END IF;
  RETURN NULL;
END
$$;

-- Takes a partition out of history, in one transaction with the event that says so. For the owner of the tables, or a
-- role that the owner grants this to: the role of a running server is not granted it, so that nobody who has taken over
-- a server can make it forget. It looks at all that must be there by itself:
--  * the event of the export (`retention.export`) is in the log, as it is, below a checkpoint;
--  * the partition has as many rows as were exported, and each is in the log below that event;
--  * nothing keeps it.
CREATE FUNCTION carnet_retire_partition(event_id bigint, how text, actor text, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
  event public.operator_event;
  part record;
  obstacle text;
  place bigint;
  present bigint;
  logged bigint;
BEGIN
  IF how NOT IN ('detach', 'drop') THEN
    RAISE EXCEPTION 'a partition is detached or dropped, not %', how USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT * INTO event FROM public.operator_event WHERE id = event_id AND action = 'retention.export';
  SELECT * INTO part FROM public.carnet_partitions() WHERE name = event.subject;
  IF part.name IS NULL THEN
    RAISE EXCEPTION 'operator event % is of no export of a partition', event_id USING ERRCODE = 'CN409';
  END IF;
  -- From here on there is no new hold, and no new row, until this is over.
  LOCK TABLE public.legal_hold, public.legal_hold_release IN SHARE MODE;
  EXECUTE format('LOCK TABLE public.%I IN SHARE MODE', part.name);
  obstacle := public.carnet_retention_obstacle(part.name);
  IF obstacle IS NOT NULL THEN
    RAISE EXCEPTION '% stays: %', part.name, obstacle USING ERRCODE = 'CN409';
  END IF;
  SELECT leaf_index INTO place FROM public.log_entry
    WHERE kind = 3 AND row_id = event.id AND xact = event.xact AND row_recorded_at = event.recorded_at
      AND leaf_index < (SELECT max(size) FROM public.log_checkpoint)
      AND leaf_hash = sha256('\x000103'::bytea || record_send(ROW(event.id, event.xact, event.recorded_at, event.actor,
        event.action, event.subject, event.before, event.after, event.reason)));
  IF place IS NULL THEN
    RAISE EXCEPTION 'the export of % is not in the log yet', part.name USING ERRCODE = 'CN409';
  END IF;
  EXECUTE format('SELECT count(*) FROM public.%I', part.name) INTO present;
  EXECUTE format('SELECT count(*) FROM public.%I AS r JOIN public.log_entry AS l ON l.kind = $1 AND l.row_id = r.id
      AND l.xact = r.xact AND l.row_recorded_at = r.recorded_at AND l.leaf_index < $2', part.name)
    INTO logged USING CASE part.history WHEN 'issuance' THEN 1 ELSE 3 END, place;
  IF present IS DISTINCT FROM (event.after ->> 'rows')::bigint OR logged <> present THEN
    RAISE EXCEPTION '% has % rows, of which % are in the log, and % were exported', part.name, present, logged,
      event.after ->> 'rows' USING ERRCODE = 'CN409';
  END IF;
  EXECUTE format('ALTER TABLE public.%I DETACH PARTITION public.%I', part.history, part.name);
  IF how = 'drop' THEN
    EXECUTE format('DROP TABLE public.%I', part.name);
  END IF;
  INSERT INTO public.operator_event (actor, action, subject, before, after, reason)
    VALUES (actor, 'retention.' || how, part.name, NULL, event.after, reason);
END
$$;
REVOKE ALL ON FUNCTION carnet_retire_partition(bigint, text, text, text) FROM PUBLIC;

CREATE FUNCTION carnet_grants_retention(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT SELECT ON legal_hold, legal_hold_release TO %s', runtime);
  EXECUTE format(
    'GRANT INSERT (identity, is_prefix, held_from, held_to, reason, actor) ON legal_hold TO %s', runtime);
  EXECUTE format('GRANT INSERT (hold_id, reason, actor) ON legal_hold_release TO %s', runtime);
END
$$;
