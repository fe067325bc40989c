-- What an agent needs to take its part of the fleet up again after it ended in any way.

ALTER TABLE consumer
  -- Whose word it is: a node's agents differ by their sockets. One instance may be known to two of them.
  ADD COLUMN agent text COLLATE "C" NOT NULL,
  -- In detail: what each stream was sent and acknowledged, for the agent's own use.
  ADD COLUMN held jsonb NOT NULL,
  -- Until then the row says which of the instance's certificates are no longer presented; afterwards it goes.
  ADD COLUMN keep_until timestamptz NOT NULL,
  DROP CONSTRAINT consumer_pkey,
  ADD PRIMARY KEY (instance, agent);
