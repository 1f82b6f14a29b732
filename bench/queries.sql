-- name: hello_run
-- The run of one commit: its status, and its logs sealed and unsealed. $1 the commit.
SELECT runs.status::text AS status, count(streams.sealed_at) AS sealed,
  count(*) FILTER (WHERE streams.id IS NOT NULL AND streams.sealed_at IS NULL) AS unsealed
  FROM pipeline_runs AS runs LEFT JOIN log_streams AS streams ON streams.run_id = runs.id
 WHERE runs.sha = $1
 GROUP BY runs.id, runs.status;

-- name: waiting_deliveries
-- Deliveries stored, and those of them that have no outcome.
SELECT (SELECT count(*) FROM deliveries) AS stored,
  (SELECT count(*) FROM deliveries) - (SELECT count(*) FROM delivery_outcomes) AS undecided;

-- name: outcomes
-- How many deliveries had each outcome.
SELECT outcome, count(*) AS deliveries FROM delivery_outcomes GROUP BY outcome;

-- name: runs_of_pipeline
-- How far the runs of a pipeline are. $1 pipeline.
SELECT count(*) AS runs, count(finished_at) AS finished,
  count(*) FILTER (WHERE status = 'success') AS succeeded, max(finished_at) AS last_finished_at,
       (SELECT count(sealed_at) FROM log_streams WHERE run_id IN (SELECT id FROM pipeline_runs
              WHERE pipeline_config_id = $1)) AS sealed
  FROM pipeline_runs WHERE pipeline_config_id = $1;

-- name: stream_of_commit
-- What the log of a commit's only job is. $1 the commit.
SELECT runs.id AS run_id, runs.finished_at, runs.status::text AS status, runs.reason::text AS reason,
  streams.job_id, streams.stored_bytes, streams.sealed_at, streams.gaps::text AS gaps
  FROM pipeline_runs AS runs LEFT JOIN log_streams AS streams ON streams.run_id = runs.id
    AND streams.container = 'job'
 WHERE runs.sha = $1;

-- name: insert_finished_attempt
-- An attempt whose log lies on disk, of a cluster that no executor serves. $1 job, $2 number, $3 the
-- directory of its pod.
INSERT INTO attempts (job_id, number, status, cluster, creation_token, log_location, containers, outcome,
       claimed_at, started_at, finished_at, removed_at)
VALUES ($1, $2, 'finished', 'bench', 'bench', $3, '{job}', 'success', now(), now(), now(), now())
RETURNING id;

-- name: stream_of_attempt
-- How far an attempt's log is. $1 attempt.
SELECT stored_bytes, next_line - 1 AS lines, encode(sha256, 'hex') AS sha256, gaps::text AS gaps, sealed_at
  FROM log_streams WHERE attempt_id = $1;
