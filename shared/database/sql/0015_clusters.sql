-- The clusters on which jobs can run, as their executors register them.

-- writer: executor
CREATE TABLE clusters (
  name text PRIMARY KEY,
  labels jsonb NOT NULL,  -- each label with its value
  registered_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now()  -- the last time an executor of it said that it runs
);
