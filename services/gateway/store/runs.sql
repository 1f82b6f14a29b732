-- name: plan_each_time
-- The lists' filters may be absent: each call is planned for the ones it has.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: repository_ids
-- Repositories of this name, registered or learned, deleted or not. $1 full name.
SELECT id FROM repositories WHERE lower(full_name) = lower($1)
UNION SELECT repository_id FROM repository_identities WHERE lower(full_name) = lower($1);

-- part: run_columns
r.id, r.number, r.pipeline_config_id, p.name AS pipeline, r.revision_id, v.number AS revision, r.event_id,
  r.event_kind AS event, r.repository_id,
       c.full_name AS repository, r.branch, r.sha, r.status, r.reason, r.triggered_by, r.rerun, r.retry_of,
         r.priority, r.logs, r.created_at, r.started_at, r.finished_at

-- part: with_names
JOIN pipeline_configs p ON p.id = r.pipeline_config_id
  JOIN pipeline_revisions v ON v.id = r.revision_id
  JOIN repositories c ON c.id = r.repository_id

-- part: filters
r.id < $3 AND r.expired_at IS NULL AND ($5::status IS NULL OR r.status = $5)
  AND ($6::bigint IS NULL OR r.pipeline_config_id = $6)
          AND ($7::bigint[] IS NULL OR r.repository_id = ANY($7)) AND ($8::text IS NULL OR r.branch = $8)
            AND ($9::text IS NULL OR r.sha = $9)
          AND ($10::event_kind IS NULL OR r.event_kind = $10)
          AND ($11::timestamptz IS NULL OR r.created_at >= $11)
            AND ($12::timestamptz IS NULL OR r.created_at < $12)
          AND ($13::timestamptz IS NULL OR r.started_at >= $13)
            AND ($14::timestamptz IS NULL OR r.started_at < $14)
          AND ($15::timestamptz IS NULL OR r.finished_at >= $15)
            AND ($16::timestamptz IS NULL OR r.finished_at < $16)

-- name: newest_runs
-- For administrators, who see all. $1 user (not looked at), $2 true, $3 before this id, $4 how many, $5 … $16
-- filters; NULL: any.
WITH shown AS MATERIALIZED (
   SELECT r.* FROM pipeline_runs r WHERE $1::bigint IS NOT NULL AND $2::boolean AND :filters
     ORDER BY r.id DESC LIMIT $4)
SELECT :run_columns FROM shown r :with_names ORDER BY r.id DESC;

-- name: newest_runs_of_user
-- Of own pipelines and granted repositories, the newest of each first: the cost does not grow with other
-- people's runs. Parameters as above.
WITH mine AS (
   SELECT newest.* FROM pipeline_configs own
    CROSS JOIN LATERAL (SELECT r.* FROM pipeline_runs r WHERE r.pipeline_config_id = own.id AND :filters
           ORDER BY r.id DESC LIMIT $4) AS newest
    WHERE own.created_by = $1 AND NOT $2::boolean AND ($6::bigint IS NULL OR own.id = $6)
   UNION
   SELECT newest.* FROM grants granted
    CROSS JOIN LATERAL (SELECT r.* FROM pipeline_runs r WHERE r.repository_id = granted.repository_id
           AND :filters ORDER BY r.id DESC LIMIT $4) AS newest
    WHERE granted.user_id = $1)
SELECT :run_columns FROM (SELECT * FROM mine ORDER BY id DESC LIMIT $4) AS r :with_names ORDER BY r.id DESC;

-- name: one_run
-- A run where the user may see it, with its provenance. $1 run, $2 user, $3 administrator. may_command:
-- owner, maintainer or administrator.
SELECT :run_columns, r.concurrency_group, r.concurrency_limit, r.on_new, r.group_entered_at, r.traceparent,
       e.kind, e.delivery_id AS event_delivery, d.delivery_id, d.source, e.sender_login,
       $3 OR p.created_by = $2 OR coalesce(g.role = 'maintainer', false) AS may_command,
       $3 OR coalesce(g.role = 'maintainer', false) AS may_approve,
       e.trusted, e.merge_sha, r.fork_policy, r.approval_expires_at, r.approved_at, r.approved_by
  FROM pipeline_runs r
  :with_names
  JOIN events e ON e.id = r.event_id
  LEFT JOIN deliveries d ON d.id = e.delivery_id
  LEFT JOIN grants g ON g.repository_id = r.repository_id AND g.user_id = $2
 WHERE r.id = $1 AND r.expired_at IS NULL AND ($3 OR p.created_by = $2 OR g.user_id IS NOT NULL);

-- name: run_jobs
-- The jobs of a run in the order of the document. place: how many jobs stand before it in the queue, or runs
-- in that of its group, 1,000 at most. An admitted job waits for what its attempt waits for; one whose pause
-- before another attempt is over waits for a slot. Jobs of the release before have no key: it is their name.
-- $1 run.
SELECT j.id, coalesce(j.key, j.name) AS key, j.name, j.position, j.needs, j.status, j.reason, j.cluster,
  j.carried_from, j.created_at, j.ready_at, j.admitted_at, j.condition, j.outputs,
       j.definition -> 'matrix_values' AS matrix_values,
       coalesce((j.definition ->> 'allow_failure')::boolean, false) AS allow_failure,
       j.status = 'success' AND j.script_retries > 0 AS flaky,
       j.cancel_requested_at, j.started_at, j.finished_at,
       CASE WHEN a.id IS NOT NULL THEN a.waiting_for WHEN j.waiting_for = 'retry_backoff'
         AND j.retry_at <= now() THEN 'slot' ELSE j.waiting_for END AS waiting_for,
       CASE WHEN a.id IS NOT NULL THEN a.message ELSE j.message END AS message,
       CASE WHEN j.status = 'pending' AND j.admitted_at IS NULL THEN j.retry_at END AS retry_at,
       CASE WHEN j.status = 'pending' AND j.ready_at IS NOT NULL AND j.admitted_at IS NULL
         AND coalesce(j.retry_at <= now(), true) THEN
         (SELECT count(*) FROM (SELECT FROM jobs w WHERE w.status = 'pending' AND w.ready_at IS NOT NULL
                AND w.admitted_at IS NULL AND coalesce(w.retry_at <= now(), true)
                                   AND (w.order_key, w.id) < (j.order_key, j.id) LIMIT 1000) AS before)
            WHEN j.waiting_for = 'group' THEN
         (SELECT count(*) FROM (SELECT FROM pipeline_runs w JOIN pipeline_runs r ON r.id = j.run_id
                                 WHERE w.repository_id = r.repository_id
                                   AND w.concurrency_group = r.concurrency_group AND w.status = 'pending'
                                   AND w.group_entered_at IS NULL AND (w.group_order_at,
                                          w.id) < (r.group_order_at, r.id) LIMIT 1000) AS before) END AS place
  FROM jobs j
  LEFT JOIN attempts a ON a.job_id = j.id AND a.number = j.wanted_attempt AND j.admitted_at IS NOT NULL
    AND j.status IN ('pending', 'running') AND a.status <> 'finished'
 WHERE j.run_id = $1
 ORDER BY j.position, j.id;

-- name: run_attempts
-- $1 run.
SELECT a.id, a.job_id, a.number, a.status, a.cluster, a.outcome, a.reason, a.message, a.exit_code,
  a.waiting_for, a.steps, a.containers, a.warnings, a.created_at, a.claimed_at,
       a.started_at, a.finished_at
  FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE j.run_id = $1 ORDER BY a.job_id, a.number;

-- name: run_transitions
-- Every change of status of a run and its jobs, in order. $1 run.
SELECT id, job_id, from_status, to_status, reason, cause, at FROM transitions WHERE run_id = $1
  ORDER BY id LIMIT 5000;

-- name: insert_command
-- A user's wish. $1 kind, $2 run, $3 arguments, $4 user, $5 idempotency key, $6 trace. No row: the key was
-- used.
INSERT INTO commands (kind, run_id, arguments, requested_by, idempotency_key, traceparent)
VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT DO NOTHING RETURNING id;

-- name: command_by_key
-- $1 user, $2 idempotency key.
SELECT id, kind, run_id, pipeline_config_id, arguments FROM commands
 WHERE requested_by = $1 AND idempotency_key = $2;

-- name: one_command
-- A command with its effect, where it is the user's. $1 command, $2 user, $3 administrator.
SELECT c.id, c.kind, c.run_id, c.pipeline_config_id, c.arguments, c.requested_by, c.created_at, e.outcome,
  e.reason, e.run_id AS new_run_id, e.applied_at, v.id AS event_id,
       CASE WHEN e.outcome IS NULL AND v.id IS NOT NULL THEN 'ref' END AS waiting_for
  FROM commands c LEFT JOIN command_effects e ON e.command_id = c.id
  LEFT JOIN events v ON v.command_id = c.id
 WHERE c.id = $1 AND ($3 OR c.requested_by = $2);

-- name: insert_start
-- A user's wish to start a run. $1 pipeline, $2 repository, $3 arguments, $4 user, $5 idempotency key, $6
-- trace. No row: the key was used.
INSERT INTO commands (kind, pipeline_config_id, repository_id, arguments, requested_by, idempotency_key,
       traceparent)
VALUES ('start', $1, $2, $3, $4, $5, $6)
  ON CONFLICT DO NOTHING RETURNING id;

-- name: newest_model
-- What a pipeline's newest revision says. $1 pipeline.
SELECT v.model FROM pipeline_configs c JOIN pipeline_revisions v ON v.id = c.revision_id WHERE c.id = $1;

-- name: repository_to_start
-- The registered repository of this name, registered or current, that a pipeline's owner may use. $1 full
-- name, $2 owner.
SELECT r.id
  FROM users u CROSS JOIN repositories r LEFT JOIN repository_identities i ON i.repository_id = r.id
 WHERE u.id = $2 AND r.deleted_at IS NULL AND u.disabled_at IS NULL
   AND (lower(r.full_name) = lower($1) OR lower(i.full_name) = lower($1))
   AND (u.is_admin OR EXISTS (SELECT FROM grants g WHERE g.repository_id = r.id AND g.user_id = u.id
          AND g.role = 'maintainer'))
 ORDER BY lower(coalesce(i.full_name, r.full_name)) = lower($1) DESC, r.id LIMIT 1;
