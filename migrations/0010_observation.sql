-- Until when an agent looks, at most, whether a proxy uses what it acknowledged: so long a rotation waits for
-- bundle_observed too.
ALTER TABLE consumer ADD COLUMN observes_until timestamptz;
