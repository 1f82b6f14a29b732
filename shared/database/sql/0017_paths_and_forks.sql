-- The files that a push of a branch changed, for path filters. Both NULL: an event without files, or one that an
-- earlier release stored.

ALTER TABLE events ADD COLUMN changed_files jsonb;  -- names; NULL with files_unknown: the list is not complete
ALTER TABLE events ADD COLUMN files_unknown text;  -- why, such as `forced`

ALTER TABLE decisions DROP CONSTRAINT decisions_outcome_check;
ALTER TABLE decisions ADD CONSTRAINT decisions_outcome_check CHECK (outcome IN
  ('run', 'not_matched', 'filtered', 'skipped', 'untrusted', 'superseded', 'not_allowed')) NOT VALID;

-- Runs of pull requests from forks. NULL `fork_policy`: the event is trusted. A run with `approve` waits until somebody
-- approves it. Until then it has no concurrency group (`held_group` keeps it) and its jobs are not ready, so a scheduler
-- of the release before neither gives it a place nor admits its jobs.

ALTER TABLE pipeline_runs ADD COLUMN fork_policy text;
ALTER TABLE pipeline_runs ADD CONSTRAINT pipeline_runs_fork_policy CHECK (fork_policy IN ('approve', 'run')) NOT VALID;
ALTER TABLE pipeline_runs ADD COLUMN approval_expires_at timestamptz;
ALTER TABLE pipeline_runs ADD COLUMN approved_at timestamptz;
ALTER TABLE pipeline_runs ADD COLUMN approved_by bigint;  -- a user
ALTER TABLE pipeline_runs ADD COLUMN held_group jsonb;  -- {"group", "limit", "on_new", "order_at"}
CREATE INDEX pipeline_runs_waiting_for_approval ON pipeline_runs (approval_expires_at)
  WHERE status = 'pending' AND fork_policy = 'approve' AND approved_at IS NULL;

-- A scheduler of the release before retries runs without a policy. It must not do so with the code of a fork: the
-- insert fails, and a scheduler of this release applies the command.
CREATE FUNCTION refuse_runs_of_forks_without_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (SELECT trusted FROM events WHERE id = NEW.event_id) THEN
    RAISE check_violation USING MESSAGE = 'a run of a pull request from a fork has no policy';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER runs_of_forks_have_a_policy BEFORE INSERT ON pipeline_runs
  FOR EACH ROW WHEN (NEW.event_kind = 'pull_request' AND NEW.fork_policy IS NULL)
  EXECUTE FUNCTION refuse_runs_of_forks_without_policy();

ALTER TABLE commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE commands ADD CONSTRAINT commands_kind_check CHECK (kind IN ('cancel', 'retry', 'approve')) NOT VALID;
