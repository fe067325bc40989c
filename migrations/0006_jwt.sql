-- JWT-SVIDs: keys that sign them are authorities without a certificate; and hints of identities.

ALTER TABLE authority
  DROP CONSTRAINT authority_kind_check,
  ADD CONSTRAINT authority_kind_check CHECK (kind IN ('root', 'issuing', 'jwt')),
  ALTER COLUMN certificate DROP NOT NULL,
  -- SubjectPublicKeyInfo, DER: of a key that no certificate shows.
  ADD COLUMN public_key bytea,
  ADD CHECK ((kind = 'jwt') = (certificate IS NULL)),
  ADD CHECK ((kind = 'jwt') = (public_key IS NOT NULL));

ALTER TABLE rotation
  DROP CONSTRAINT rotation_kind_check,
  ADD CONSTRAINT rotation_kind_check CHECK (kind IN ('root', 'issuing', 'jwt'));

ALTER TABLE trust_bundle
  -- Of the bundle that last changed roots or CRLs; null in bundles from before there were others.
  ADD COLUMN x509_sequence bigint,
  -- Keys by which JWT-SVIDs are verified: their IDs, and each as SubjectPublicKeyInfo, DER, in the same order.
  ADD COLUMN jwt_ids text[] NOT NULL DEFAULT '{}',
  ADD COLUMN jwt_keys bytea[] NOT NULL DEFAULT '{}',
  ADD CHECK (cardinality(jwt_ids) = cardinality(jwt_keys));

-- For workloads with several identities: which one is for what.
ALTER TABLE entry ADD COLUMN hint text;
ALTER TABLE entry_version ADD COLUMN hint text;

CREATE FUNCTION carnet_grants_jwt(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT INSERT (x509_sequence, jwt_ids, jwt_keys) ON trust_bundle TO %s', runtime);
  EXECUTE format('GRANT INSERT (hint) ON entry_version TO %s', runtime);
END
$$;
