-- Issuing CAs that an outside CA signs, so that the root's key need not be ours.

ALTER TABLE authority
  -- From its issuer up to, and without, the root, for an issuing CA that is not signed by the root itself; DER.
  ADD COLUMN intermediates bytea[] NOT NULL DEFAULT '{}';

-- Our key that waits for its certificate; one at a time, until the answer is imported.
CREATE TABLE upstream_request (
  -- The ID that the issuing CA will have.
  id text COLLATE "C" PRIMARY KEY,
  key_algorithm text NOT NULL,
  sealed_key bytea,
  key_reference text,
  -- PKCS#10, DER.
  csr bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
  CHECK (num_nonnulls(sealed_key, key_reference) = 1)
);
CREATE UNIQUE INDEX upstream_request_one ON upstream_request ((true));

CREATE OR REPLACE FUNCTION carnet_grant_runtime(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('carnet_grant_runtime'));
  EXECUTE format('GRANT USAGE ON SCHEMA public TO %s', runtime);
  EXECUTE format(
    'GRANT SELECT ON authority, trust_bundle, entry, entry_version, token, issuance, operator_event, crl, denial,
       revocation, rotation, consumer, upstream_request TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE ON authority, token, denial, rotation TO %s', runtime);
  EXECUTE format('GRANT INSERT, UPDATE, DELETE ON entry, consumer, upstream_request TO %s', runtime);
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
