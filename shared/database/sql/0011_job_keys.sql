-- Jobs have a key, which identifies them in a run, and a name for people. They differ for the jobs of a matrix.
-- A scheduler of the release before writes no key: then the name is the key.

ALTER TABLE jobs ADD COLUMN key text;
ALTER TABLE jobs DROP CONSTRAINT jobs_run_id_name_key;
CREATE UNIQUE INDEX jobs_by_key ON jobs (run_id, coalesce(key, name));

ALTER TABLE jobs ADD COLUMN has_rules boolean NOT NULL DEFAULT false;  -- the engine needs the definition
ALTER TABLE jobs ADD COLUMN condition text;  -- how its `if` was decided, for people
ALTER TABLE jobs ADD COLUMN outputs jsonb NOT NULL DEFAULT '{}';  -- by name
-- Attempts that followed one that the cluster ended, or that failed by the job's own code. NULL: a scheduler of the
-- release before counted all as the cluster's.
ALTER TABLE jobs ADD COLUMN infra_retries integer;
ALTER TABLE jobs ADD COLUMN script_retries integer NOT NULL DEFAULT 0;

ALTER TYPE reason ADD VALUE 'fail_fast' AFTER 'rejected';
ALTER TYPE waiting_for ADD VALUE 'max_parallel' AFTER 'group';
