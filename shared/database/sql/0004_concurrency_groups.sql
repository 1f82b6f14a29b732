-- Concurrency groups: of the runs of a group in a repository so many have a place at once; the others wait for one, or are stopped.

ALTER TABLE pipeline_runs
  ADD COLUMN concurrency_group text,  -- NULL: it needs no place
  ADD COLUMN concurrency_limit integer,
  ADD COLUMN on_new text CHECK (on_new IN ('queue', 'cancel_older', 'keep_latest_pending', 'reject')),
  ADD COLUMN group_order_at timestamptz,  -- which of two runs of a group is the newer: the forge's time of the event, of a retry when it was asked for; then the id
  ADD COLUMN group_entered_at timestamptz,  -- since then it has a place, until it is over
  ADD CONSTRAINT pipeline_runs_group CHECK (num_nulls(concurrency_group, concurrency_limit, on_new, group_order_at) IN (0, 4));
-- Who waits for a place, of each group in order: admission looks for them each time.
CREATE INDEX pipeline_runs_waiting_for_group ON pipeline_runs (repository_id, concurrency_group, group_order_at, id)
 WHERE status = 'pending' AND concurrency_group IS NOT NULL AND group_entered_at IS NULL;
-- Who has a place.
CREATE INDEX pipeline_runs_in_group ON pipeline_runs (repository_id, concurrency_group)
 WHERE status IN ('pending', 'running') AND concurrency_group IS NOT NULL AND group_entered_at IS NOT NULL;
-- The newest run that stops others, over or not: one that comes late is older than it.
CREATE INDEX pipeline_runs_stopping_others ON pipeline_runs (repository_id, concurrency_group, on_new, group_order_at DESC, id DESC)
 WHERE on_new IN ('cancel_older', 'keep_latest_pending');
