-- Removes the attempt status `running`. No release has written it: `claimed` means that user code may run.
--
-- PostgreSQL cannot drop a value of an enum, so both tables are rewritten with a new type. This takes about 20
-- seconds per million attempts on a small machine. Meanwhile webhooks are accepted and jobs run, but
-- statements about attempts wait. A statement that waits for too long (`database_command_seconds`) is repeated.
-- Both tables are locked first, in the order in which executors write them, so there are no deadlocks. A
-- statement takes its snapshot after its lock, so none sees an empty table. If the locks are not free within 5
-- seconds, nothing is changed, and the migration can be repeated.
--
-- During a rolling upgrade, an executor of the older release continues to start, claim and finish attempts. A
-- transaction whose statements it had prepared before fails once (`handler_failed`), and its message is
-- delivered again. Its checks `claimed_attempts` and `jobs_past_limit` name the old value: they fail, write
-- `reconciler_failed` to the log, and run again every 10 seconds. The new executor runs both when it starts.

LOCK TABLE attempts, attempt_transitions IN ACCESS EXCLUSIVE MODE;
ALTER TYPE attempt_status RENAME TO attempt_status_with_running;
CREATE TYPE attempt_status AS ENUM ('creating', 'created', 'claimed', 'finished');

DROP INDEX attempts_unfinished, attempts_to_remove;  -- their conditions name the old type
ALTER TABLE attempts
  ALTER COLUMN status DROP DEFAULT,
  ALTER COLUMN status TYPE attempt_status USING status::text::attempt_status,
  ALTER COLUMN status SET DEFAULT 'creating';
ALTER TABLE attempt_transitions
  ALTER COLUMN from_status TYPE attempt_status USING from_status::text::attempt_status,
  ALTER COLUMN to_status TYPE attempt_status USING to_status::text::attempt_status;
CREATE INDEX attempts_unfinished ON attempts (cluster, id) WHERE status <> 'finished';
CREATE INDEX attempts_to_remove ON attempts (cluster, id) WHERE status = 'finished' AND removed_at IS NULL;
DROP TYPE attempt_status_with_running;
