-- What the runtime's role may, part by part: a migration that adds tables adds a function carnet_grants_<part>(regrole)
-- beside them, and repeats nothing of the others. What there is by now stays as 0004 says it, under a name of its own.

ALTER FUNCTION carnet_grant_runtime(regrole) RENAME TO carnet_grants_core;

CREATE FUNCTION carnet_grant_runtime(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  part regproc;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('carnet_grant_runtime'));
  FOR part IN
    SELECT oid::regproc FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND starts_with(proname, 'carnet_grants_') ORDER BY proname
  LOOP
    EXECUTE format('SELECT %s($1)', part) USING runtime;
  END LOOP;
END
$$;
