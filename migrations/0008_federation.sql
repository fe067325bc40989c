-- Other trust domains: whose bundles entries ask for, where each is fetched, and what is trusted of it.

ALTER TABLE entry ADD COLUMN federates_with text[] NOT NULL DEFAULT '{}';
ALTER TABLE entry_version ADD COLUMN federates_with text[] NOT NULL DEFAULT '{}';

-- Grows with every change of any foreign bundle, also over a federation's deletion.
CREATE SEQUENCE federation_revision;

CREATE TABLE federation (
  trust_domain text COLLATE "C" PRIMARY KEY,
  -- Where its bundle is fetched; all null: an operator sets it by hand.
  profile text CHECK (profile IN ('https_web', 'https_spiffe')),
  endpoint_url text,
  endpoint_spiffe_id text,
  -- The bundle that lives: the document to the letter, its publisher's sequence, and ours. Who changed it to what is
  -- among the operator events.
  document text,
  sha256 bytea CHECK (octet_length(sha256) = 32),
  sequence numeric(40),
  refresh_hint_seconds bigint,
  revision bigint,
  changed_at timestamptz,
  -- When the endpoint last gave a bundle that was accepted, and is to be asked next.
  checked_at timestamptz,
  next_refresh_at timestamptz,
  failures integer NOT NULL DEFAULT 0,
  problem text,
  -- Who asks the endpoint now, and until when nobody else does.
  claim_id uuid,
  claimed_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (num_nulls(profile, endpoint_url, next_refresh_at) IN (0, 3)),
  CHECK ((profile IS NOT DISTINCT FROM 'https_spiffe') = (endpoint_spiffe_id IS NOT NULL)),
  CHECK (num_nulls(document, sha256, revision, changed_at) IN (0, 4))
);

-- That others fetch our bundle, and what they were told of when to come again: a new root waits for them.
CREATE TABLE bundle_served (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  served_at timestamptz NOT NULL,
  refresh_hint_seconds integer NOT NULL CHECK (refresh_hint_seconds > 0)
);

CREATE FUNCTION carnet_grants_federation(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT INSERT (federates_with) ON entry_version TO %s', runtime);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON federation TO %s', runtime);
  EXECUTE format('GRANT USAGE ON SEQUENCE federation_revision TO %s', runtime);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON bundle_served TO %s', runtime);
END
$$;
