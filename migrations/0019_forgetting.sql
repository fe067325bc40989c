-- Join tokens that let nobody in any more and agents that are long gone are forgotten: history has what they did.

CREATE INDEX join_token_end ON join_token (least(used_at, revoked_at, expires_at));
CREATE INDEX agent_end ON agent (expires_at) WHERE banned_at IS NULL;

CREATE FUNCTION carnet_grants_forgetting(runtime regrole) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT DELETE ON join_token, agent TO %s', runtime);
END
$$;
